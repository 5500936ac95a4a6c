"""Rows and the set that measures share no conversation, however either was written."""

import json
from typing import Any

import msgspec
import pytest

from gateway.core.errors import InvalidRequest
from gateway.tuning.captured.examples import Rated
from gateway.tuning.golden import golden_text
from gateway.tuning.retraining.parting import Given, marks, parted
from tests.fakes.captured import captured

WORDS = ("refund", "parcel", "invoice", "password", "warranty", "voucher", "gift", "colour", "address", "delivery")


def chat(*said: str) -> dict[str, Any]:
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[number % 2], "content": text} for number, text in enumerate(said)]}


def asked(number: int) -> str:
    return f"{WORDS[number % 10]} {number} of {WORDS[number // 10 % 10]}?"


def of_calls(count: int, turns: int = 1) -> list[Given]:
    found = []
    for number in range(count):
        call = msgspec.structs.replace(captured(number, asked(number), "Yes."), conversation=f"c{number // turns}")
        rated: Rated = (call, None)
        found.append(Given(chat(asked(number), "Yes."), rated))
    return found


@pytest.mark.parametrize("count", [20, 40, 200])
def test_captured_calls_that_are_the_rows_are_parted_and_not_all_the_set(count: int) -> None:
    rows = of_calls(count)
    found = parted(rows, None, [], 10)
    assert len(found.rows) >= 10
    assert found.items
    assert len(found.rows) + len(found.items) == count
    again = parted(rows, golden_text(found.items), [], 10)
    assert again.rows == found.rows, "the kept set parts the same rows"


def test_calls_of_one_conversation_stay_on_one_side() -> None:
    rows = of_calls(60, turns=3)
    found = parted(rows, None, [], 10)
    measured = {item.cluster for item in found.items}
    sides = {row.rated[0].conversation for row in rows if row.rated is not None and row.data in found.rows}
    assert measured
    assert measured.isdisjoint(sides)


def test_too_few_rows_to_hold_some_out_are_said_to_be() -> None:
    with pytest.raises(InvalidRequest, match="takes 10 or more"):
        parted(of_calls(10), None, [], 10)
    with pytest.raises(InvalidRequest, match="takes 10 or more"):
        parted(of_calls(12, turns=6), None, [], 10)
    assert len(parted(of_calls(11), None, [], 10).rows) == 10


def test_calls_that_a_dataset_was_made_of_leave_rows_to_train_on() -> None:
    rows = of_calls(30)
    plain = [Given(row.data) for row in rows]
    found = parted(plain, None, [row.rated for row in rows if row.rated is not None], 10)
    assert found.came_from == "rows held out"
    assert len(found.rows) >= 10


def test_rows_of_a_conversation_that_is_measured_are_not_trained_on() -> None:
    item = json.dumps(chat("I am <EMAIL_1>, where is it?", "On its way.", "When?", "Tomorrow.")).encode()
    first_turns = chat("I am ann@example.org,  where is IT?", "On its way.")
    preference = {
        "non_preferred_output": [{"role": "assistant", "content": "ann@example.org? No."}],
        "input": chat("I am bob@example.org, where is it?"),
        "preferred_output": [{"role": "assistant", "content": "On its way."}],
    }
    other = chat("Where is the shop?", "In Berlin.")
    found = parted([Given(first_turns), Given(preference), Given(other)], item, [], 1)
    assert found.rows == (other,)
    with pytest.raises(InvalidRequest, match="Every row is in the set"):
        parted([Given(first_turns)], item, [], 1)


def test_pseudonyms_count_on_from_a_system_prompt_and_are_the_same_all_the_same() -> None:
    system = {"role": "system", "content": "Write to desk@example.org."}
    user = {"role": "user", "content": "I am ann@example.org"}
    assert marks([system, user]) & marks([{"role": "user", "content": "I am <EMAIL_2>"}])
