"""A policy with faults is told off with file, line and column: never another exception, never half a policy."""

import contextlib
import random
import re
from pathlib import Path

import pytest

from gateway.core.document import validate
from gateway.core.errors import BadConfiguration, GatewayError
from gateway.policy.decide import decide
from gateway.policy.example import example_call, example_facts
from gateway.policy.explain import run_tests
from gateway.policy.load import FILES, Texts, document_of, load
from gateway.policy.written_call import CallEntry
from gateway.pricing.overlay import PriceOverlay
from gateway.pricing.table import table_from
from tests.fakes.calls import NOON
from tests.fakes.rulebook import SAMPLES, sample

SEEDS = 300
PLACED = re.compile(r"^(?P<file>.+?\.yaml):(?P<line>\d+):(?P<column>\d+): \S")
ODD = (
    *(
        "",
        "null",
        "~",
        "-1",
        "0",
        "1e400",
        ".nan",
        ".inf",
        "true",
        "[]",
        "{}",
        "[[]]",
        "x",
        "*",
        "auto",
        "kb/x",
        "''",
        "'\\0'",
    ),
    *(
        "2027-13-45",
        "!!bool maybe",
        "!!timestamp x",
        "!!python/object:x y",
        "&a [*a]",
        "*nobody",
        "9" * 30,
        "[",
        "}",
        "\t",
    ),
    *(
        "env:",
        "file:/nowhere",
        "http://h:99999",
        "http://[::1",
        "ftp://x",
        "(",
        "é" * 70,
        "x" * 500,
        "\x00",
        "%TAG",
        "---\n",
    ),
)


def mutated(text: str, chance: random.Random) -> str:
    """The text with one to three of the slips that people make."""
    lines = text.split("\n")
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(lines))
        match chance.randrange(9):
            case 0:
                del lines[at]
                lines = lines or [""]
            case 1:
                lines.insert(at, lines[chance.randrange(len(lines))])
            case 2:
                lines[at] = chance.choice([" ", "  ", "\t"]) + lines[at]
            case 3:
                lines[at] = lines[at].lstrip()
            case 4:
                lines[at] = re.sub(r": *[^:]*$", lambda _: ": " + chance.choice(ODD), lines[at], count=1)
            case 5:
                words = re.findall(r"[\w.-]+", lines[at])
                if words:
                    word = chance.choice(words)
                    lines[at] = lines[at].replace(word, chance.choice(ODD), 1)
            case 6:
                place = chance.randrange(len(lines[at]) + 1)
                lines[at] = lines[at][:place] + chance.choice('{}[]:,-#"&*!|>%@`\\\x07é') + lines[at][place:]
            case 7:
                place = chance.randrange(len(lines[at]) + 1)
                lines[at] = lines[at][:place] + lines[at][place + 1 :]
            case _:
                lines = lines[: at + 1]
    return "\n".join(lines)


def changed(texts: Texts, chance: random.Random) -> Texts:
    name = chance.choice([name for name in FILES if name in texts.files])
    text = mutated(texts.files[name].decode(), chance)
    return Texts(texts.folder, {**texts.files, name: text.encode("utf-8", "replace")})


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
