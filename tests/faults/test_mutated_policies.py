"""Mutated policies (a thousand in `make soak`), put in place one after the other while calls are served.

Of each that is refused it is promised that the policy in force stays what it was, that every fault names its file
and line, and that no call fails: each is answered with 200 by the rule that the good policy has for it. Every
fiftieth edit is a good one and decides all calls from then on.

A mutated policy may still be a good one, only another. It is put back at once. What it does to calls is its author's
business (it may refuse them, or send them elsewhere): of calls that met it only an answer is promised, and that it is
none of an internal error.
"""

import random
import re
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import httpx2
import pytest

from gateway.policy.load import Texts, read_texts
from tests.fakes.mutations import PLACED, changed
from tests.fakes.running_gateway import POLICIES, UPSTREAM_KEY, offline_process, plain_environment
from tests.fakes.served_gateway import ServedGateway, served_gateway

GOOD_EVERY = 50
CALLERS = 4
ASKED = {"model": "auto", "messages": [{"role": "user", "content": "Hello there"}]}
RULE = "auto-is-a-small-model"
ALWAYS = float("inf")


@dataclass
class Force:
    """How long a policy may have decided calls, and the rule that takes them then; None is any outcome."""

    rule: str | None
    first: float
    last: float = ALWAYS


@dataclass
class Outcome:
    """What a caller got."""

    began: float
    ended: float
    status: int
    rule: str


class Calls:
    """Callers that call all the while. good: the good policy in force now. forces: all that there were."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._key = key
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._call, daemon=True) for _ in range(CALLERS)]
        self.got: list[Outcome] = []
        self.broken: list[str] = []
        self.good = Force(RULE, 0.0)
        self.forces = [self.good]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(timeout=30)

    def _call(self) -> None:
        headers = {"authorization": f"Bearer {self._key}"}
        with httpx2.Client(base_url=self._url, headers=headers, timeout=20) as http:
            while not self._is_over.is_set():
                began = time.monotonic()
                try:
                    reply = http.post("/v1/chat/completions", json=ASKED)
                except httpx2.HTTPError as fault:
                    self.broken.append(repr(fault))
                    continue
                rule = reply.headers.get("x-gateway-rule", "")
                self.got.append(Outcome(began, time.monotonic(), reply.status_code, rule))
                # As a caller that has something else to do: the reloads must get their turn on two cores.
                time.sleep(0.01)

    def failed(self) -> list[Outcome]:
        """The calls that no policy answers so that was in force between their beginning and end."""
        return [call for call in self.got if not self._is_well(call)]

    def _is_well(self, call: Outcome) -> bool:
        rules = {force.rule for force in self.forces if force.first <= call.ended and force.last >= call.began}
        return call.status != 500 if None in rules else call.status == 200 and call.rule in rules


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[ServedGateway]:
    shutil.copytree(POLICIES, tmp_path / "policies")
    with offline_process(tmp_path / "upstream") as upstream:
        environment = plain_environment() | {"UPSTREAM_URL": upstream.base_url, "UPSTREAM_KEY": UPSTREAM_KEY}
        with served_gateway(tmp_path, environment) as served:
            yield served


def put(texts: Texts, before: Texts) -> None:
    """Makes the folder hold these files; written beside and moved, as editors do."""
    for name, data in texts.files.items():
        if data != before.files.get(name):
            fresh = Path(texts.folder) / f"{name}.new"
            fresh.write_bytes(data)
            fresh.replace(Path(texts.folder) / name)


@pytest.mark.parametrize("mutations", [150, pytest.param(1_000, marks=pytest.mark.soak)])
def test_mutated_policies_fail_no_call(gateway: ServedGateway, tmp_path: Path, mutations: int) -> None:
    good = files_of(tmp_path / "policies")
    refused = accepted = 0
    with Calls(gateway.url, gateway.key("support")) as calls:
        for seed in range(mutations):
            if seed % GOOD_EVERY == GOOD_EVERY - 1:
                good = goes_live(gateway, good, f"auto-{seed}", calls)
            in_force, mutated = gateway.gateway.pipeline.policy, changed(good, random.Random(seed))
            began = time.monotonic()
            put(mutated, good)
            faults = gateway.reload()
            if faults:
                refused += 1
                assert gateway.gateway.pipeline.policy is in_force, seed
                assert gateway.gateway.loaded.texts.hash == in_force.hash, seed
                assert not (unplaced := [fault for fault in faults if not is_placed(fault, mutated)]), (seed, unplaced)
                put(good, mutated)
                continue
            accepted += gateway.gateway.pipeline.policy is not in_force
            put(good, mutated)
            assert gateway.reload() == []
            assert gateway.gateway.pipeline.policy.hash == in_force.hash
            calls.forces.append(Force(None, began, time.monotonic()))
        time.sleep(0.2)
    assert calls.broken == []
    assert calls.failed() == []
    assert refused > mutations // 2, "mutations that break nothing prove nothing"
    assert accepted > 5, "and some are only another policy"
    assert sum(call.status == 200 for call in calls.got) > mutations // 2, "there were calls all the while"
    assert gateway.gateway.registry.get_sample_value("gateway_policy_reloads_total", {"result": "rejected"}) == refused


def goes_live(gateway: ServedGateway, before: Texts, rule: str, calls: Calls) -> Texts:
    """A good edit: the rule that takes all calls gets another name."""
    routing = re.sub(rb"name: auto-\S+", b"name: " + rule.encode(), before.files["routing.yaml"], count=1)
    after = Texts(before.folder, {**before.files, "routing.yaml": routing})
    put(after, before)
    fresh, earlier = Force(rule, time.monotonic()), gateway.gateway.pipeline.policy.hash
    calls.forces.append(fresh)
    assert gateway.reload() == []
    assert gateway.gateway.pipeline.policy.hash != earlier
    calls.good.last, calls.good = time.monotonic(), fresh
    return after


def files_of(folder: Path) -> Texts:
    """The files that stand in the folder, without what is added to them when they are read."""
    found = read_texts(folder)
    return Texts(found.folder, {name: data for name, data in found.files.items() if (folder / name).exists()})


def is_placed(fault: str, texts: Texts) -> bool:
    """Whether a fault names a file of the folder and a line in it."""
    place = PLACED.match(fault)
    if place is None or Path(place["file"]).parent != Path(texts.folder):
        return False
    lines = texts.files.get(Path(place["file"]).name, b"").count(b"\n")
    return int(place["line"]) <= lines + 2
