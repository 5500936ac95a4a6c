import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.core.facts import TaskSignal
from gateway.knowledge.embedders import Embedded, EmbedderFailed
from gateway.knowledge.embedders.remembered import Remembered
from gateway.policy.weights import TASK_MEANING, TASK_WORDS
from gateway.tuning.examples import Examples
from gateway.tuning.tasks import BATCH, Tasks
from tests.fakes.calls import chat
from tests.fakes.embedder import FakeEmbedder

KIND = "You write for Larkfield & Sons. Warm and brief."
TONE = Examples(
    (
        "Please answer this complaint: the mug arrived broken.",
        "Reply to this customer: the parcel is late.",
        "Write back to a customer who got the wrong size.",
    ),
    (KIND,),
    3,
    answers_json=False,
    has_tools=False,
)
SORT = Examples(
    ("Which of our boxes does this ticket belong to: vacation days?", "Sort this ticket: the printer is on fire."),
    ("You sort tickets into boxes.", "You sort."),
    1,
    answers_json=True,
    has_tools=True,
)
LINES = {"tone": TONE, "sort": SORT}
COMPLAINT = "Please answer this complaint: the vase arrived broken."


class Lesson:
    """Tasks over a folder. took: what the embedder was told to have read."""

    def __init__(self, folder: Path, lines: dict[str, Examples] | None = None, embedder: FakeEmbedder | None = None):
        self.embedder = embedder
        self.took: list[int | None] = []
        remembered = Remembered(embedder, rest_seconds=0) if embedder else None
        self.tasks = Tasks(LINES if lines is None else lines, remembered, folder)

    async def prepare(self) -> None:
        await self.tasks.prepare(self.took.append)

    async def signals(
        self, text: str, system: str = "", *, local_only: bool = False, **fields: Any
    ) -> list[TaskSignal]:
        turns = [{"role": "system", "content": system}] if system else []
        call = chat(**{"messages": [*turns, {"role": "user", "content": text}], **fields})
        return list(await self.tasks.signals(call, self.took.append, local_only=local_only))

    async def evidence(self, text: str, system: str = "", line: str = "tone", **fields: Any) -> dict[str, float]:
        return told(await self.signals(text, system, **fields), line)


def told(signals: Sequence[TaskSignal], line: str) -> dict[str, float]:
    (signal,) = [signal for signal in signals if signal.line == line]
    assert signal.evidence is not None
    return dict(signal.evidence)


async def test_evidence_has_exactly_the_names_that_weights_know(tmp_path: Path) -> None:
    words = await Lesson(tmp_path).evidence(COMPLAINT, KIND)
    assert words.keys() == TASK_WORDS.keys()
    lesson = Lesson(tmp_path, embedder=FakeEmbedder())
    await lesson.prepare()
    for system in (KIND, ""):
        assert (await lesson.evidence(COMPLAINT, system)).keys() == TASK_WORDS.keys() | TASK_MEANING.keys()


async def test_every_line_has_a_signal_in_the_order_of_names(tmp_path: Path) -> None:
    signals = await Lesson(tmp_path).signals(COMPLAINT)
    assert [signal.line for signal in signals] == ["sort", "tone"]
    assert await Lesson(tmp_path, {}).signals(COMPLAINT) == []


async def test_the_training_files_own_system_prompt_is_known_word_for_word(tmp_path: Path) -> None:
    lesson = Lesson(tmp_path)
    same = await lesson.evidence(COMPLAINT, f"  {KIND.replace(' ', '  ')}\n")
    assert (same["same_system_prompt"], same["has_system_prompt"]) == (1, 1)
    assert same["system_prompt_words"] == pytest.approx(1, abs=1e-3)
    other = await lesson.evidence(COMPLAINT, KIND + " Always.")
    assert (other["same_system_prompt"], other["has_system_prompt"]) == (0, 1)
    assert 0.5 < other["system_prompt_words"] < 1
    none = await lesson.evidence(COMPLAINT)
    assert (none["same_system_prompt"], none["has_system_prompt"], none["system_prompt_words"]) == (0, 0, 0)


async def test_a_file_without_system_prompts_knows_no_call_by_its_lack(tmp_path: Path) -> None:
    bare = Examples(TONE.turns, ("",), 1, answers_json=False, has_tools=False)
    found = await Lesson(tmp_path, {"bare": bare}).evidence(COMPLAINT, line="bare")
    assert (found["same_system_prompt"], found["system_prompt_words"]) == (0, 0)


async def test_what_is_like_the_examples_is_nearer_and_ahead(tmp_path: Path) -> None:
    lesson = Lesson(tmp_path)
    like, unlike = await lesson.evidence(COMPLAINT), await lesson.evidence("Who won the cup in 1998?")
    for name in ("nearest_words", "nearest_words_relative", "ahead_words", "focus_words"):
        assert like[name] > unlike[name], name
    rival = await lesson.evidence(COMPLAINT, line="sort")
    assert like["ahead_words"] == pytest.approx(-rival["ahead_words"], abs=1e-5)
    assert like["ahead_words"] > 0


async def test_a_line_alone_is_ahead_of_nothing(tmp_path: Path) -> None:
    found = await Lesson(tmp_path, {"tone": TONE}).evidence(COMPLAINT, KIND)
    assert found["ahead_words"] == pytest.approx(
        found["nearest_words_relative"] + 2 * found["system_prompt_words"], abs=1e-4
    )


async def test_a_conversation_longer_than_any_example_says_so(tmp_path: Path) -> None:
    def talk(turns: int) -> list[dict[str, str]]:
        said = [{"role": "assistant" if n % 2 else "user", "content": COMPLAINT} for n in range(turns)]
        return [{"role": "system", "content": KIND}, *said]

    lesson = Lesson(tmp_path)
    assert (await lesson.evidence("", messages=talk(3)))["more_turns"] == 0
    assert (await lesson.evidence("", messages=talk(5)))["more_turns"] == 1


async def test_the_form_that_is_asked_for_is_compared_with_the_taught_one(tmp_path: Path) -> None:
    lesson = Lesson(tmp_path)
    json_asked, tools = {"type": "json_object"}, [{"type": "function", "function": {"name": "f"}}]
    assert (await lesson.evidence(COMPLAINT))["different_format"] == 0
    assert (await lesson.evidence(COMPLAINT, response_format=json_asked))["different_format"] == 1
    assert (await lesson.evidence(COMPLAINT, line="sort", response_format=json_asked))["different_format"] == 0
    assert (await lesson.evidence(COMPLAINT))["different_tools"] == 0
    assert (await lesson.evidence(COMPLAINT, tools=tools))["different_tools"] == 1
    assert (await lesson.evidence(COMPLAINT, line="sort"))["different_tools"] == 1


async def test_a_call_without_a_word_is_like_nothing(tmp_path: Path) -> None:
    lesson = Lesson(tmp_path, embedder=FakeEmbedder())
    await lesson.prepare()
    picture = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]
    found = await lesson.evidence("", messages=picture)
    assert found["nearest_words"] == 0
    assert all(np.isfinite(value) for value in found.values())


async def test_one_example_and_odd_text_give_numbers_all_the_same(tmp_path: Path) -> None:
    one = Examples(("?!",), ("",), 1, answers_json=False, has_tools=False)
    lesson = Lesson(tmp_path, {"one": one}, FakeEmbedder())
    await lesson.prepare()
    for text in ("?!", "half \\ud83d", "wort " * 20_000):
        found = await lesson.evidence(text, text, line="one")
        assert all(np.isfinite(value) for value in found.values())


async def test_words_serve_until_the_embedder_has_read_the_examples(tmp_path: Path) -> None:
    lesson = Lesson(tmp_path, embedder=FakeEmbedder("fake:1"))
    assert (lesson.tasks.embedder, lesson.tasks.embedder_name) == ("", "fake:1")
    before = await lesson.signals(COMPLAINT)
    assert {signal.embedder for signal in before} == {""}
    await lesson.prepare()
    assert lesson.tasks.embedder == "fake:1"
    after = await lesson.signals(COMPLAINT)
    assert {signal.embedder for signal in after} == {"fake:1"}
    words = told(before, "tone")
    assert words.items() <= told(after, "tone").items()


async def test_an_embedder_knows_what_words_do_not(tmp_path: Path) -> None:
    """`holiday` and `vacation` share no word."""
    lesson = Lesson(tmp_path, embedder=FakeEmbedder())
    await lesson.prepare()
    asked = await lesson.signals("Which box: holidays?")
    assert told(asked, "sort")["ahead_meaning"] > 0
    assert told(asked, "sort")["nearest_meaning"] > told(asked, "tone")["nearest_meaning"]


async def test_vectors_are_kept_on_disk_and_not_made_again(tmp_path: Path) -> None:
    first = Lesson(tmp_path / "kept", embedder=FakeEmbedder())
    await first.prepare()
    texts = {*TONE.turns, *SORT.turns, *TONE.system_prompts, *SORT.system_prompts}
    assert first.embedder is not None
    assert set(first.embedder.seen) == texts
    assert sum(tokens or 0 for tokens in first.took) > 0
    again = Lesson(tmp_path / "kept", embedder=FakeEmbedder())
    await again.prepare()
    assert again.embedder is not None
    assert (again.embedder.seen, again.took) == ([], [])
    assert await again.signals(COMPLAINT) == await first.signals(COMPLAINT)
    assert not list((tmp_path / "kept").glob("*.partial"))


async def test_another_embedder_or_another_example_is_made_anew(tmp_path: Path) -> None:
    await Lesson(tmp_path, embedder=FakeEmbedder("fake:1")).prepare()
    other = FakeEmbedder("fake:2")
    await Lesson(tmp_path, embedder=other).prepare()
    assert len(other.seen) == 8
    grown = Examples((*TONE.turns, "And this one."), (KIND,), 3, answers_json=False, has_tools=False)
    once_more = FakeEmbedder("fake:1")
    await Lesson(tmp_path, {"tone": grown, "sort": SORT}, once_more).prepare()
    assert once_more.seen == list(grown.turns)


async def test_vectors_that_a_crash_cut_short_are_made_again(tmp_path: Path) -> None:
    await Lesson(tmp_path, embedder=FakeEmbedder()).prepare()
    whole = {path: path.read_bytes() for path in tmp_path.glob("*.npy")}
    for kept in (0, 60, -4):
        for path, data in whole.items():
            path.write_bytes(data[:kept])
        lesson = Lesson(tmp_path, embedder=FakeEmbedder())
        await lesson.prepare()
        assert lesson.tasks.embedder
        assert {path: path.read_bytes() for path in tmp_path.glob("*.npy")} == whole


async def test_many_examples_are_embedded_in_batches(tmp_path: Path) -> None:
    many = Examples(tuple(f"turn {n}" for n in range(2 * BATCH + 3)), ("",), 1, answers_json=False, has_tools=False)
    lesson = Lesson(tmp_path, {"many": many}, FakeEmbedder())
    await lesson.prepare()
    assert len(lesson.took) == 4
    assert lesson.tasks.embedder


async def test_an_embedder_that_fails_leaves_the_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    embedder = FakeEmbedder()
    lesson = Lesson(tmp_path, embedder=embedder)
    await lesson.prepare()
    embedder.broken = True
    with caplog.at_level(logging.WARNING, "gateway.tuning"):
        broken = await lesson.signals(COMPLAINT, KIND)
    assert broken == await Lesson(tmp_path).signals(COMPLAINT, KIND)
    assert [record.message for record in caplog.records] == ["call_not_embedded"]
    assert COMPLAINT not in str(caplog.records[0].__dict__)
    embedder.broken = False
    assert (await lesson.signals(COMPLAINT, KIND))[0].embedder == "fake:1"


async def test_an_embedder_that_fails_while_examples_are_read_is_the_callers_to_hear(tmp_path: Path) -> None:
    embedder = FakeEmbedder()
    embedder.broken = True
    lesson = Lesson(tmp_path, embedder=embedder)
    with pytest.raises(EmbedderFailed):
        await lesson.prepare()
    assert lesson.tasks.embedder == ""
    embedder.broken = False
    await lesson.prepare()
    assert lesson.tasks.embedder == "fake:1"


class Ragged(FakeEmbedder):
    """An embedder whose vectors have another length than those of the examples."""

    async def embed(self, texts: Sequence[str]) -> Embedded:
        embedded = await super().embed(texts)
        return Embedded(embedded.rows[:, :-1], embedded.tokens)


async def test_vectors_of_another_length_leave_the_words(tmp_path: Path) -> None:
    """A provider that changes a model under its name must not fail calls."""
    await Lesson(tmp_path, embedder=FakeEmbedder()).prepare()
    lesson = Lesson(tmp_path, embedder=Ragged())
    await lesson.prepare()
    assert {signal.embedder for signal in await lesson.signals(COMPLAINT, KIND)} == {""}


async def test_an_embedder_at_an_upstream_is_not_asked_when_only_this_machine_may_be(tmp_path: Path) -> None:
    class Local(FakeEmbedder):
        is_local = True

    for embedder, name in ((FakeEmbedder(), ""), (Local(), "fake:1")):
        lesson = Lesson(tmp_path, embedder=embedder)
        await lesson.prepare()
        lesson.took.clear()
        signals = await lesson.signals(COMPLAINT, KIND, local_only=True)
        assert {signal.embedder for signal in signals} == {name}
        assert bool(lesson.took) is bool(name)
