"""`gateway policy explain`: where a written call would go, or why a recorded one went where it did."""

import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from gateway.cli.output import print_json, print_table, say
from gateway.cli.place import database, run, settings


def explain(
    *,
    team: str = "",
    text: str = "",
    system: str = "",
    model: str = "auto",
    endpoint: str = "chat",
    key: str = "test",
    header: list[str] | None = None,
    metadata: list[str] | None = None,
    tools: bool = False,
    image: bool = False,
    response_format: str = "text",
    turns: int = 1,
    user: str = "",
    prompt_tokens: int | None = None,
    budget_used: float | None = None,
    at: datetime | None = None,
    knowledge_score: float | None = None,
    task_score: list[str] | None = None,
    decision: str | None = None,
    policies: Path | None = None,
    data: Path | None = None,
    json: bool = False,
) -> int:
    """Says where a call would go and why, without sending it; or, with --decision, why a recorded one went its way.

    header, metadata: name=value, may be repeated. knowledge_score, task_score (line=score): what signals are taken to
    say; without them they are looked up in this gateway's library and training files, by words or by an embedder on
    this machine. decision: the id of a recorded decision, or of its call; it is decided again under its own policy.
    """
    from pydantic import ValidationError

    from gateway.policy.written_call import CallEntry

    if decision is not None:
        return run(_recorded(decision, data, json=json))
    try:
        entry = CallEntry.model_validate(
            {
                "team": team or _missing("--team"),
                "key": key,
                "model": model,
                "endpoint": endpoint,
                "text": text,
                "system": system,
                "headers": _pairs(header),
                "metadata": _pairs(metadata),
                "has_tools": tools,
                "has_image": image,
                "response_format": response_format,
                "turns": turns,
                "user": user,
                "prompt_tokens": prompt_tokens,
                "budget_used": budget_used,
                "at": at.astimezone() if at else None,
                "knowledge_score": knowledge_score,
                "task_score": {name: float(score) for name, score in _pairs(task_score).items()},
            }
        )
    except (ValidationError, ValueError) as fault:
        sys.stderr.write(f"{fault}\n")
        return 2
    return run(_written(entry, policies, data, json=json))


async def _written(entry: Any, policies: Path | None, data: Path | None, *, json: bool) -> int:
    from gateway.core.errors import GatewayError
    from gateway.explained import explain_call

    async with lookups_of(policies, data) as (loaded, lookups):
        try:
            told = await explain_call(loaded.rulebook.policy, entry, time.time(), lookups)
        except GatewayError as fault:
            sys.stderr.write(f"{fault.message}\n")
            return 1
    _show(told, json=json)
    return 0


async def _recorded(decision: str, data: Path | None, *, json: bool) -> int:
    from gateway.core.errors import BadConfiguration, GatewayError
    from gateway.explained import explain_record
    from gateway.ledger.store import LedgerStore
    from gateway.policy.load import Texts, load

    async with database(settings(data=data)) as opened:
        books = LedgerStore(opened)
        record = await books.decision(decision)
        files = None if record is None else await books.policy_files(record.policy_hash)
    if record is None or files is None:
        sys.stderr.write(f"There is no decision {decision!r}.\n" if record is None else "Its policy is not kept.\n")
        return 1
    try:
        told = explain_record(load(Texts("policies as they were", files)).policy, record)
    except (BadConfiguration, GatewayError) as fault:
        sys.stderr.write(f"Its policy cannot be run again by this version: {fault}\n")
        return 1
    if json:
        print_json({"record": record, "explained": told})
        return 0
    _show(told, json=False)
    rows = [(cost.role, f"{cost.arm.path}:{cost.arm.model}", _usd(cost.nano_usd)) for cost in record.arms]
    print_table(("arm", "goes to", "expected USD"), rows, frozenset({"expected USD"}))
    return 0


@asynccontextmanager
async def lookups_of(policies: Path | None, data: Path | None) -> AsyncIterator[Any]:
    """What a policies folder means, and what can be looked up beside it, brought up to date; nothing is served."""
    from gateway.knowledge.library import Library
    from gateway.knowledge.opened import open_store
    from gateway.live import load_all, tasks_of
    from gateway.live_knowledge import collections_of, local_embedders
    from gateway.paths.lookups import LookUps
    from gateway.paths.rag import Sources

    found = settings(policies=policies, data=data)
    loaded = load_all(found.policies, None, found.data)
    embedders = local_embedders(loaded, {})
    library = Library(open_store(found), collections_of(loaded), embedders)
    tasks = tasks_of(loaded, embedders, found.data / "examples")
    await tasks.prepare(lambda _tokens: None)
    for fault in (await library.sync()).faults:
        sys.stderr.write(f"{fault}\n")
    nothing = Sources(library, 0, lambda _names, _result, _seconds: None, lambda _principal, _use, _call: None)
    try:
        yield loaded, LookUps(nothing, tasks)
    finally:
        await library.close()


def _show(told: Any, *, json: bool) -> None:
    if json:
        print_json(told)
        return
    rows = [
        (step["rule"], "held" if step["held"] else f"{step['failed']} (saw {step['saw']!r})") for step in told.steps
    ]
    print_table(("rule", "what happened"), rows)
    for score in told.signals:
        parts = sorted((part for part in score.contributions if part[1]), key=lambda part: -abs(part[1]))[:6]
        say(f"{score.kind} {score.of}: {score.score:.3f}" + "".join(f"  {name} {value:+.2f}" for name, value in parts))
    if told.refusal is not None:
        say(f"refused: {told.refusal}")
        return
    line = f", line {told.line}@v{told.version}" if told.line else ""
    collections = f", collections {', '.join(told.collections)}" if told.collections else ""
    fallbacks = f", then {', '.join(told.fallbacks)}" if told.fallbacks else ""
    shadow = f", copied to {told.shadow}" if told.shadow else ""
    say(f"path {told.path}, model {told.model} at {told.upstream}{line}{collections}{fallbacks}{shadow}")
    if told.without_sources:
        say("; ".join(told.without_sources))


def _usd(nano_usd: int | None) -> str | None:
    from gateway.core.money import usd_text

    return None if nano_usd is None else usd_text(nano_usd)


def _missing(option: str) -> str:
    raise ValueError(f"{option} is missing: which team makes the call?")


def _pairs(written: list[str] | None) -> dict[str, str]:
    pairs = {}
    for pair in written or []:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"{pair!r} must be name=value")
        pairs[name] = value
    return pairs
