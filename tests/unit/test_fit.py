import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.core.document import read_document, validate
from gateway.core.errors import BadConfiguration
from gateway.core.facts import Facts, KnowledgeSignal, TaskSignal
from gateway.fit import (
    BARE,
    MOST_FAULTS,
    Gathered,
    LabelledCall,
    as_file,
    cross_validated,
    fit_all,
    gather,
    read_labelled,
    routed,
    unknown_targets,
)
from gateway.knowledge.library import Library
from gateway.knowledge.settings import CollectionSettings, SourceSettings
from gateway.knowledge.stores.sqlite import SqliteStore
from gateway.paths.lookups import LookUps
from gateway.paths.rag import Sources
from gateway.policy.signals_file import SignalsFile
from gateway.policy.weights import KNOWLEDGE_MEANING, KNOWLEDGE_WORDS, TASK_MEANING, TASK_WORDS
from gateway.tuning.examples import Examples
from gateway.tuning.tasks import Tasks
from tests.fakes.calls import NOON, facts
from tests.fakes.rulebook import rulebook

BEFORE = rulebook().signals.weights()


def line(text: str = "Hello", label: str = "direct", **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], "label": label, **fields}


def written(tmp_path: Path, *lines: object) -> Path:
    path = tmp_path / "labelled.jsonl"
    path.write_bytes(b"\n".join(one if isinstance(one, bytes) else json.dumps(one).encode() for one in lines))
    return path


def labelled(label: str = "direct", target: str | None = None) -> LabelledCall:
    return LabelledCall([{"role": "user", "content": "Hello"}], label, target)


def gathered(label: str, target: str | None, group: int, near: float, held: float, embedder: str = "") -> Gathered:
    """A call whose evidence is these two numbers, for two lines and two collections."""

    def task(name: str) -> TaskSignal:
        value = near if target == name or label != "fine_tuned" else near / 4
        return TaskSignal(name, 0.0, (("nearest_words", value), *more("nearest_meaning", value)), embedder)

    def collection(name: str) -> tuple[str, tuple[tuple[str, float], ...]]:
        value = held if target == name or label != "rag" else held / 4
        return name, (("turn_strength", value), *more("turn_meaning", value))

    def more(name: str, value: float) -> tuple[tuple[str, float], ...]:
        return ((name, value), (f"{name}_relative", value)) if embedder else ()

    signal = KnowledgeSignal(0.0, (), "1", (collection("docs"), collection("faq")), embedder)
    known = Facts(NOON, facts().today, 0.0, None, ((("docs", "faq"), signal),), (task("sort"), task("tone")))
    return Gathered(labelled(label, target), known, group)


def some_calls(count: int = 60, embedder: str = "") -> list[Gathered]:
    made = []
    for n in range(count):
        spread = (n % 7) / 50
        label, target = [
            ("fine_tuned", "tone"),
            ("fine_tuned", "sort"),
            ("rag", "docs"),
            ("rag", "faq"),
            ("direct", None),
        ][n % 5]
        near = 0.8 + spread if label == "fine_tuned" else 0.2 + spread
        held = 0.8 + spread if label == "rag" else 0.2 + spread
        made.append(gathered(label, target, n // 5, near, held, embedder))
    return made


def test_labelled_calls_are_read(tmp_path: Path) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    path = written(
        tmp_path,
        line(label="plain"),
        b"",
        line("Write to Sam", "fine_tuned", target="tone", team="support", tools=tools),
        line("How long?", "rag_multi", target="help-centre", response_format={"type": "json_object"}, source="x"),
    )
    plain, tuned, held = read_labelled(path)
    assert [one.route for one in (plain, tuned, held)] == ["direct", "fine_tuned", "rag"]
    assert (tuned.principal().team, plain.principal().team) == ("support", "default")
    assert (tuned.call().has_tools, tuned.call().text) == (True, "Write to Sam")
    assert held.call().wants_json


def test_every_bad_line_is_named_with_its_place(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        line(),
        b"{",
        line(label="sideways"),
        line(label="rag"),
        {"label": "direct"},
        {"messages": "no", "label": "direct"},
        {"messages": [{"role": 7}], "label": "direct"},
        b"\xff\xfe",
    )
    with pytest.raises(BadConfiguration) as bad:
        read_labelled(path)
    assert [fault[len(f"{path}:")] for fault in bad.value.faults] == list("2345678")
    assert "'sideways'" in bad.value.faults[1]
    assert "names its target" in bad.value.faults[2]


def test_a_file_of_rubbish_or_of_nothing_says_so(tmp_path: Path) -> None:
    for lines, count in (([b"{"] * 100, MOST_FAULTS), ([], 1), ([b"", b"  "], 1)):
        with pytest.raises(BadConfiguration) as bad:
            read_labelled(written(tmp_path, *lines))
        assert len(bad.value.faults) == count
    with pytest.raises(BadConfiguration, match="cannot be read"):
        read_labelled(tmp_path / "absent.jsonl")


def test_a_target_that_nothing_is_measured_for_is_a_fault() -> None:
    calls = [
        labelled(),
        labelled("fine_tuned", "tone"),
        labelled("fine_tuned", "brand-voice"),
        labelled("rag", "faq"),
        labelled("rag", "faq"),
        labelled("rag", "docs"),
    ]
    assert unknown_targets(calls, {"tone", "brand-voice"}, ["faq", "docs"]) == []
    first, second = unknown_targets(calls, {"tone"}, ["docs"])
    assert "'brand-voice'" in first
    assert "'faq'" in second


def test_fitted_weights_route_the_calls_that_they_were_fitted_on() -> None:
    calls = some_calls()
    weights = fit_all(calls).weights(BEFORE)
    for call in calls:
        assert routed(call, weights) == (call.labelled.route, call.labelled.target)
    assert {name for name, _ in weights.task_words.weights} == TASK_WORDS.keys()
    assert {name for name, _ in weights.knowledge_words.weights} == KNOWLEDGE_WORDS.keys()


def test_without_an_embedder_the_weights_by_meaning_stay_as_they_were() -> None:
    weights = fit_all(some_calls()).weights(BEFORE)
    assert weights.task_meaning == BEFORE.task_meaning
    assert weights.knowledge_meaning == BEFORE.knowledge_meaning


def test_with_an_embedder_both_ways_are_fitted() -> None:
    calls = some_calls(embedder="local:1")
    weights = fit_all(calls).weights(BEFORE)
    assert {name for name, _ in weights.task_meaning.weights} == TASK_WORDS.keys() | TASK_MEANING.keys()
    assert {name for name, _ in weights.knowledge_meaning.weights} == KNOWLEDGE_WORDS.keys() | KNOWLEDGE_MEANING.keys()
    assert weights.task_words != BEFORE.task_words
    assert routed(calls[0], weights) == ("fine_tuned", "tone")


def test_portable_weights_hold_no_bare_cosine() -> None:
    everything = TASK_WORDS.keys() | TASK_MEANING.keys() | KNOWLEDGE_WORDS.keys() | KNOWLEDGE_MEANING.keys()
    assert everything > BARE
    weights = fit_all(some_calls(embedder="local:1"), is_portable=True).weights(BEFORE)
    named = {name for name, _ in (*weights.task_meaning.weights, *weights.knowledge_meaning.weights)}
    assert named == everything - BARE


def test_calls_of_one_kind_leave_the_weights_as_they_were() -> None:
    assert fit_all([]).weights(BEFORE) == BEFORE
    assert fit_all([gathered("direct", None, n, 0.2, 0.2) for n in range(9)]).weights(BEFORE) == BEFORE


def test_cross_validation_judges_each_call_by_the_others() -> None:
    calls = some_calls()
    folds: list[int] = []
    given = cross_validated(calls, BEFORE, told=folds.append)
    assert folds == [1, 2, 3, 4, 5]
    assert given == [(call.labelled.route, call.labelled.target) for call in calls]
    wrong = [Gathered(labelled("direct"), call.facts, 3) for call in calls if call.labelled.route == "fine_tuned"]
    liars = [*calls, *wrong]
    judged = cross_validated(liars, BEFORE)[len(calls) :]
    assert {route for route, _ in judged} == {"fine_tuned"}, "labels of the fold itself must not be known to it"


def test_what_is_written_is_a_signals_file_that_means_the_same() -> None:
    weights = fit_all(some_calls(embedder="local:1")).weights(BEFORE)
    before = SignalsFile.model_validate(as_file(BEFORE, rulebook().signals, {"on": "2026-11-23", "calls": 1}))
    made = as_file(weights, before.model_copy(update={"embedder": "local"}), {"on": "2026-11-23", "calls": 60})
    read = validate(read_document(json.dumps(made), "signals.yaml"), SignalsFile)
    assert read.weights() == weights
    assert (read.embedder, read.fitted.calls if read.fitted else 0) == ("local", 60)
    assert "embedder" not in as_file(weights, before, {})


@pytest.fixture
async def lookups(tmp_path: Path) -> AsyncIterator[LookUps]:
    for name in ("open", "closed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.md").write_text("# Refunds\n\nRefunds take ten days.")
    settings = [
        CollectionSettings(name, "", (SourceSettings("folder", str(tmp_path / name)),), teams, None)
        for name, teams in (("open", ("*",)), ("closed", ("board",)))
    ]
    library = Library(SqliteStore(tmp_path / "k.db"), settings, {})
    await library.sync()
    tone = Examples(("Write to Sam",), ("",), 1, answers_json=False, has_tools=False)
    sources = Sources(library, 1_000, lambda _names, _result, _seconds: None, lambda _principal, _use, _call: None)
    yield LookUps(sources, Tasks({"tone": tone}, None, tmp_path))
    await library.close()


async def test_evidence_is_that_of_all_lines_and_of_what_the_team_may_read(lookups: LookUps) -> None:
    calls = [
        LabelledCall([{"role": "user", "content": "How long do refunds take?"}], "rag", "open", team)
        for team in ("support", "board")
    ]
    support, board = [one async for one in gather(calls, lookups, ("open", "closed"), NOON)]
    for one, readable in ((support, ["open"]), (board, ["closed", "open"])):
        assert [signal.line for signal in one.facts.tasks or ()] == ["tone"]
        ((_, signal),) = one.facts.knowledge
        assert sorted(name for name, _ in signal.evidence or ()) == readable
    assert support.group == board.group, "calls that begin alike are in one fold"
    (bare,) = [one async for one in gather(calls[:1], lookups, (), NOON)]
    assert bare.facts.knowledge == ()
