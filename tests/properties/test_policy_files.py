"""A policy with faults is told off with file, line and column: never another exception, never half a policy."""

import contextlib
import random
from pathlib import Path

import pytest

from gateway.core.document import validate
from gateway.core.errors import BadConfiguration, GatewayError
from gateway.policy.decide import decide
from gateway.policy.example import example_call, example_facts
from gateway.policy.explain import run_tests
from gateway.policy.load import Texts, document_of, load
from gateway.policy.written_call import CallEntry
from gateway.pricing.overlay import PriceOverlay
from gateway.pricing.table import table_from
from tests.fakes.calls import NOON
from tests.fakes.mutations import PLACED, changed
from tests.fakes.rulebook import SAMPLES, sample

SEEDS = 300


def used(texts: Texts) -> None:
    """What going live does with the files; a policy that is good must also decide without a fault of ours."""
    rulebook = load(texts)
    table_from(validate(document_of(texts, "prices.yaml"), PriceOverlay))
    run_tests(rulebook.policy, NOON)
    for model in ("auto", "gpt-4.1-mini", "support-tone", "kb/help-centre", ""):
        for endpoint in ("chat", "embeddings", "passthrough"):
            entry = CallEntry.model_validate(
                {"team": "support", "model": model, "endpoint": endpoint, "text": "Hi", "knowledge_score": 0.9}
            )
            call, principal = example_call(entry)
            with contextlib.suppress(GatewayError):
                decide(rulebook.policy, call, principal, example_facts(entry, NOON, rulebook.policy), "dec_1")


@pytest.mark.parametrize("folder", SAMPLES, ids=lambda folder: folder.parent.name)
def test_a_mutated_policy_is_good_or_says_where_it_is_not(folder: Path) -> None:
    texts = sample(folder)
    refused = 0
    for seed in range(SEEDS):
        broken = changed(texts, random.Random(seed))
        faults = faults_of(broken, seed)
        refused += bool(faults)
        for fault in faults:
            place = PLACED.match(fault)
            assert place is not None, (seed, fault)
            lines = broken.files[Path(place["file"]).name].count(b"\n")
            assert int(place["line"]) <= lines + 2, (seed, fault)
    assert refused > SEEDS // 3, "mutations that break nothing prove nothing"


def faults_of(texts: Texts, seed: int) -> list[str]:
    """What is wrong; none for a good policy."""
    try:
        used(texts)
    except BadConfiguration as bad:
        return bad.faults or ["a fault without words"]
    except Exception as fault:
        raise AssertionError(f"seed {seed}: {type(fault).__name__}: {fault}") from fault
    return []


@pytest.mark.parametrize("seed", range(60))
def test_any_bytes_in_a_policy_are_bad_configuration(seed: int) -> None:
    chance = random.Random(seed)
    name = chance.choice(["routing.yaml", "models.yaml", "knowledge.yaml", "teams.yaml"])
    texts = sample(SAMPLES[0])
    with contextlib.suppress(BadConfiguration):
        load(Texts("policies", {**texts.files, name: chance.randbytes(chance.randrange(200))}))
