"""Secrets and personal data by their form, and pseudonyms that cannot be led back."""

import json
from collections import Counter
from typing import Any

import pytest

from gateway.tuning.datasets.personal import personal_data
from gateway.tuning.datasets.redaction import redacted
from tests.fakes.training_rows import PNG, call, calling, chat, linted, said, shown, talk

AT = chr(64)
JANE = f"jane.roe{AT}firm.test"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("sk-proj-" + "Ab1_" * 10, "SECRET"),
        ("AKIA" + "ABCD1234" * 2, "SECRET"),
        ("ghp_" + "a1B2" * 9, "SECRET"),
        ("glpat-" + "a1B2" * 5, "SECRET"),
        ("xoxb-" + "12345-abcde", "SECRET"),
        ("eyJ" + "abcdefgh1" + ".eyJ" + "abcdefgh2" + ".abcdefgh3", "SECRET"),
        ("postgres://app:hunter22" + AT + "db.test/x", "SECRET"),
        ("password: hunter22", "SECRET"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----", "SECRET"),
        (JANE, "EMAIL"),
        ("+1 (415) 555-2671", "PHONE"),
        ("(415) 555-2671", "PHONE"),
        ("030/1234567", "PHONE"),
        ("5555 5555 5555 4444", "CARD"),
        ("GB82 WEST 1234 5698 7654 32", "IBAN"),
        ("198.51.100.23", "IP"),
        ("AB 12 34 56 C", "ID"),
        ("529.982.247-25", "ID"),
        ("X1234567L", "ID"),
    ],
)
def test_a_form_is_found_where_it_stands(text: str, kind: str) -> None:
    found = personal_data(f"It is {text} indeed")
    assert [one.kind for one in found] == [kind]
    assert (f"It is {text} indeed")[found[0].start : found[0].end] in text


@pytest.mark.parametrize(
    "text",
    [
        "Order 12345678 of 2026-11-24 10:30",
        "4111 1111 1111 1112 has no sum",
        "version 10.2.300.4",
        "0000 0000 0000 0000",
        "call us at any hour",
        "the ratio 3.14159265358979",
        "<EMAIL_1> and <PHONE_2>",
        "task-oriented skills in risk-management",
    ],
)
def test_what_only_looks_like_it_is_left(text: str) -> None:
    assert personal_data(text) == []


def test_the_same_value_has_the_same_pseudonym_within_a_row_and_another_in_none() -> None:
    counts: Counter[Any] = Counter()
    row = talk(
        said("user", f"I am {JANE}, not max{AT}firm.test."), said("assistant", f"Thanks, {JANE.upper()}."), note=JANE
    )
    after = redacted(row, counts)
    assert [message["content"] for message in json.loads(json.dumps(after))["messages"]] == [
        "I am <EMAIL_1>, not <EMAIL_2>.",
        "Thanks, <EMAIL_1>.",
    ]
    assert after["note"] == "<EMAIL_1>"
    assert counts == {"EMAIL": 4}
    assert redacted(chat(f"max{AT}firm.test")) == chat("<EMAIL_1>")


def test_a_row_with_nothing_to_hide_is_the_same_row() -> None:
    row = chat()
    assert redacted(row) is row


def test_redacting_twice_is_redacting_once_and_lint_finds_nothing_more() -> None:
    row = chat(f"{JANE} 4111 1111 1111 1111 +49 170 1234567 GB82 WEST 1234 5698 7654 32 198.51.100.23")
    once = redacted(row)
    assert redacted(once) is once
    assert not [code for code, _ in linted(once).counts if code.startswith("P")]


def test_a_text_of_nothing_but_addresses_is_read_in_one_go() -> None:
    """Comparing each with each found twenty thousand took minutes."""
    text = f"a{AT}a.b " * 20_000
    assert len(personal_data(text)) == 20_000
    assert "Q018" in dict(linted(chat("a", "$1 " * 50_000)).counts)


def test_arguments_and_json_answers_stay_json() -> None:
    arguments = json.dumps({"card": 4111111111111111, "mail": JANE, "id": 1})
    after = redacted(calling(call(arguments)) | {"x": arguments})
    made = json.loads(json.dumps(after))["messages"][1]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(made) == {"card": "<CARD_1>", "mail": "<EMAIL_1>", "id": 1}


def test_images_and_ids_of_calls_are_no_text() -> None:
    assert redacted(shown(PNG)) == shown(PNG)
    row = calling(call(identity="4111111111111111"))
    assert redacted(row) is row
