"""Rows of tickets, tables and feedback: the same input gives the same bytes, and nobody's address."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.core.errors import BadConfiguration
from gateway.tuning.datasets.exchanges import Building, Exchange, Options, Said, conversation
from gateway.tuning.datasets.exports.columns import Columns, read_csv, read_fields, read_pairs
from gateway.tuning.datasets.exports.freshdesk import read_freshdesk
from gateway.tuning.datasets.exports.zendesk import read_zendesk
from gateway.tuning.datasets.provenance import dataset_hash, row_hash
from tests.fakes.training_rows import linted

AT = chr(64)


def exchange(question: str = "Where is it?", answer: str = "Here.", **more: Any) -> Exchange:
    return Exchange("1", "t:1", (Said("user", question),), answer, **more)


def built(*exchanges: Exchange, **options: Any) -> tuple[list[dict[str, Any]], Building]:
    building = Building(Options("test", **options))
    return [one.row for one in building.rows(exchanges)], building


def user(text: str) -> Said:
    return Said("user", text)


def agent(text: str) -> Said:
    return Said("assistant", text)


def comment(author: int, text: str, *, is_public: bool = True, **more: Any) -> dict[str, Any]:
    return {"author_id": author, "plain_body": text, "public": is_public} | more


TICKET = {
    "id": 7,
    "subject": "Parcel",
    "description": "My parcel is late.",
    "status": "solved",
    "requester_id": 100,
    "created_at": "2026-11-01T10:00:00Z",
    "comments": [
        comment(100, "My parcel is late."),
        comment(5, "Let us not tell them about the strike.", is_public=False),
        comment(5, "Which number has it?"),
        comment(100, "4711"),
        comment(5, "It comes tomorrow."),
        comment(6, "Sorry again!"),
        comment(100, "Thanks!"),
    ],
}


def test_a_zendesk_ticket_is_its_public_talk_up_to_the_last_answer(tmp_path: Path) -> None:
    for name, text in (("a.json", json.dumps({"tickets": [TICKET]}, indent=1)), ("b.jsonl", json.dumps(TICKET) + "\n")):
        (tmp_path / name).write_text(text)
        (found,) = read_zendesk(tmp_path / name)
        assert [(said.role, said.text) for said in found.messages] == [
            ("user", "Parcel\n\nMy parcel is late."),
            ("assistant", "Which number has it?"),
            ("user", "4711"),
        ]
        assert found.answer == "It comes tomorrow.\n\nSorry again!"
        assert (found.id, found.group, found.is_resolved) == ("7", "ticket:7", True)
        assert "strike" not in str(found)


def test_a_comment_that_does_not_say_is_not_taken_for_public(tmp_path: Path) -> None:
    hidden = TICKET | {"comments": [{"author_id": 5, "body": "Internal"}]}
    (tmp_path / "a.jsonl").write_text(json.dumps(hidden))
    (found,) = read_zendesk(tmp_path / "a.jsonl")
    assert found.answer == ""


def test_a_freshdesk_ticket_in_both_of_its_forms(tmp_path: Path) -> None:
    notes = [
        {"body": "<p>Hello,<br>press <b>reset</b>.</p>", "incoming": False, "private": False},
        {"body_text": "secret", "incoming": False, "private": True},
        {"body_text": "It works!", "incoming": True, "private": False},
    ]
    plain = {"id": 3, "subject": "Reset", "description": "<div>How?</div>", "status": 5, "conversations": notes}
    wrapped = {"helpdesk_ticket": {**plain, "display_id": 3, "notes": notes}}
    (tmp_path / "a.json").write_text(json.dumps([plain, wrapped]))
    for found in read_freshdesk(tmp_path / "a.json"):
        assert found.messages == (Said("user", "Reset\n\nHow?"),)
        assert "press reset." in found.answer
        assert "<" not in found.answer
        assert found.is_resolved
        assert "secret" not in str(found)


def test_csv_with_its_own_column_names(tmp_path: Path) -> None:
    path = tmp_path / "tickets.csv"
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["Nr", "Kunde", "Antwort", "Stand", "Faden"])
        writer.writerow(["1", "Wo ist\nes?", "Hier; gleich.", "Closed", "f1"])
        writer.writerow(["2", "Und jetzt?", "", "open", "f2"])
    found = list(read_csv(path, Columns("Kunde", "Antwort", "Nr", "Faden", "", "Stand")))
    assert (found[0].messages[0].text, found[0].answer) == ("Wo ist\nes?", "Hier; gleich.")
    assert [(one.id, one.group, one.is_resolved) for one in found] == [("1", "f1", True), ("2", "f2", False)]


def test_common_names_of_columns_are_found_and_all_missing_ones_are_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("question,answer\na,b\n")
    (found,) = read_csv(path, Columns())
    assert (found.messages[0].text, found.answer) == ("a", "b")
    with pytest.raises(BadConfiguration) as bad:
        list(read_csv(path, Columns("Kunde", "", "Nr")))
    assert len(bad.value.faults) == 2
    path.write_text("one,two\na,b\n")
    with pytest.raises(BadConfiguration) as bad:
        list(read_csv(path, Columns()))
    assert "--question" in bad.value.faults[0]


def test_jsonl_of_fields_and_of_conversations(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    talk = {
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "<b>b</b>"},
        ]
    }
    path.write_text(json.dumps({"prompt": "p", "response": "r"}) + "\n" + json.dumps(talk) + "\n")
    first, second = read_fields(path, Columns())
    assert (first.messages[0].text, first.answer) == ("p", "r")
    # A tag may be what is to be learned.
    assert (second.messages, second.answer) == ((Said("user", "a"),), "<b>b</b>")


def test_every_faulty_line_is_named_and_nothing_is_made(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"prompt": "p", "chosen": "c", "rejected": "r"}\n{"prompt": \n{"prompt": "p"}\nnonsense\n')
    with pytest.raises(BadConfiguration) as bad:
        list(read_pairs(path, Columns()))
    assert {fault.split(":")[1] for fault in bad.value.faults} >= {"2", "4"}


def test_pairs_of_feedback_become_preference_rows(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps({"prompt": "p", "chosen": "good answer", "rejected": "bad one"}) + "\n")
    rows, _ = built(*read_pairs(path, Columns()), system="Be kind.")
    assert rows[0]["preferred_output"] == [{"role": "assistant", "content": "good answer"}]
    assert [message["role"] for message in rows[0]["input"]["messages"]] == ["system", "user"]
    assert not [code for code, _ in linted(*rows, method="dpo").counts if code.startswith("D")]


def test_rows_are_redacted_unless_somebody_says_otherwise() -> None:
    said = exchange(f"I am jo{AT}firm.test", f"Thanks, jo{AT}firm.test!")
    rows, building = built(said)
    assert rows[0]["messages"][1]["content"] == "Thanks, <EMAIL_1>!"
    assert building.replaced == {"EMAIL": 2}
    rows, _ = built(said, redacts=False)
    assert "jo" + AT in rows[0]["messages"][0]["content"]


def test_why_an_exchange_is_left_out_is_counted() -> None:
    rows, building = built(
        exchange(is_resolved=True),
        exchange(is_resolved=True),
        exchange(is_resolved=False),
        exchange(answer=" ", is_resolved=True),
        exchange("", is_resolved=True),
        exchange(answer="x" * 50, is_resolved=True),
        exchange(answer="y", is_resolved=True),
        only_resolved=True,
        least=2,
        most=20,
    )
    assert len(rows) == 1
    assert building.left_out == {
        "the same as another": 1,
        "not resolved": 1,
        "not answered": 1,
        "nothing asked": 1,
        "answer too long": 1,
        "answer too short": 1,
    }


def test_a_draw_is_the_same_for_the_same_seed_and_keeps_the_order() -> None:
    many = [exchange(f"Question {number}?", f"Answer {number}.") for number in range(100)]
    first, again, other = (built(*many, limit=10, seed=seed)[0] for seed in (1, 1, 2))
    assert first == again != other
    assert dataset_hash(first) == dataset_hash(again)
    numbers = [int(row["messages"][1]["content"].split()[1][:-1]) for row in first]
    assert numbers == sorted(numbers)
    assert len(first) == 10


def test_where_a_row_comes_from_stands_beside_it_and_never_in_it() -> None:
    made = list(Building(Options("zendesk:a.json", "s")).rows([exchange(created_at="2026-11-01")]))
    told = made[0].provenance
    assert told.row == row_hash(made[0].row)
    assert (told.source, told.id, told.group, told.transforms) == ("zendesk:a.json", "1", "t:1", ("build", "redact"))
    assert "zendesk" not in json.dumps(made[0].row)


def test_a_conversation_ends_with_its_last_answer() -> None:
    talk = [agent("Welcome"), user("a"), user("b"), agent("c"), user("thanks")]
    assert conversation(talk) == ((user("a\n\nb"),), "c")
    assert conversation([user("a")]) == ((), "")
    assert conversation([]) == ((), "")
