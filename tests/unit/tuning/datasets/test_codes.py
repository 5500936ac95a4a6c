"""Every lint code has a file that it speaks of, and a file much like it that it does not."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gateway.tuning.datasets.registry import CODES, codes_table
from tests.fakes.training_rows import (
    GREY_PNG,
    PNG,
    call,
    calling,
    chat,
    distinct,
    line,
    linted,
    pair,
    said,
    shown,
    talk,
    tool,
)

PAGE = Path(__file__).parents[4] / "docs" / "fine-tuning" / "lint-codes.md"
BIG = "data:image/png;base64," + "A" * 14_500_000
LONG = "word " * 17_000
SECRET = "sk-" + "a1B2" * 8
MAIL = "Write to jane.roe" + chr(64) + "firm.test"


class Case(NamedTuple):
    """rows: a file that the code speaks of; others: one that it does not. at: the line and column that it names."""

    code: str
    rows: list[Any]
    others: list[Any]
    at: tuple[int, int] | None
    options: dict[str, Any]


def case(code: str, rows: list[Any], others: list[Any], at: tuple[int, int] | None = None, **options: Any) -> Case:
    return Case(code, rows, others, at, options)


def labels(*counts: tuple[str, int]) -> list[Any]:
    return [chat(f"{label} number {n} of many, {n * 7919}", label) for label, count in counts for n in range(count)]


GOOD = chat()
BOTH = distinct(12)
TEXT = "Wir haben Ihre Anfrage erhalten und werden uns so bald wie möglich um alles Weitere kümmern, versprochen."
ENGLISH = "We have received your question and we are going to take care of everything as soon as we possibly can."

CASES = [
    case("F001", [b'{"messages": "caf\xe9"}\n'], [chat("café")], (1, 18)),
    case("F002", [], [GOOD]),
    case("F004", distinct(9), distinct(10), (1, 1)),
    case("F004", distinct(2), distinct(3), target="fireworks"),
    case("F005", distinct(49), distinct(50)),
    case("F006", [GOOD, b"\n", GOOD], [GOOD], (2, 1)),
    case("F007", [json.dumps([GOOD, GOOD], indent=1).encode()], [GOOD], (1, 1)),
    case("F007", [json.dumps([GOOD, GOOD]).encode()], [GOOD], (1, 1)),
    case("F007", [json.dumps(GOOD, indent=2).encode()], [GOOD], (1, 1)),
    case("F008", [GOOD, {"prompt": "a", "completion": "b"}], [GOOD, GOOD]),
    case("F009", [b'{"messages": [], "messages": [{"role": "user", "role": "user"}]}\n'], [GOOD], (1, 18)),
    case("F010", [b"\xef\xbb\xbf" + line(GOOD)], [GOOD], (1, 1)),
    case("F011", [line(GOOD)[:-1] + b"\r\n"], [GOOD], (1, 1)),
    case("F012", [b"question,answer\n", b"a,b\n"], [GOOD], (1, 1)),
    case("F013", [b"PAR1\x15\x04"], [GOOD], (1, 1)),
    case("F013", [b"\xff\xfe{\x00"], [GOOD], (1, 1)),
    case("F015", [GOOD], [b"\xef\xbb\xbf" + line(GOOD)], target="azure"),
    case("R001", [b'{"messages": tru}\n'], [GOOD], (1, 14)),
    case("R001", [b'{"messages": [{"role": "user", "content": "hel\n'], [GOOD], (1, 43)),
    case("R001", [b'{"a":' * 100_000 + b"\n"], [GOOD]),
    case("R002", [b'"a"\n'], [GOOD], (1, 1)),
    case("R003", [chat(id=7)], [chat(tools=[], parallel_tool_calls=True)], (1, len(json.dumps(chat())) + 2)),
    case("R004", [b"{'messages': []}\n"], [b'{"messages": []}\n'], (1, 1)),
    case("R005", [line(GOOD)[:-1] + b",\n"], [GOOD], (1, len(line(GOOD)))),
    case("R005", [b'{"messages": [1,]}\n'], [GOOD], (1, 17)),
    case("R006", [{"prompt": "a", "completion": "b"}], [GOOD], (1, 1)),
    case("R007", [chat() | {"system": "Be kind."}], [GOOD], (1, len(json.dumps(chat())) + 2)),
    case("R007", [{"conversations": [{"from": "human", "value": "x"}]}], [GOOD], (1, 2)),
    case("R008", [b'{"messages": [{"role": "user", "content": "\\ud83d"}]}\n'], [chat("\U0001f600")], (1, 44)),
    case("R008", [chat("a\0b")], [chat("a\\u0000b")]),
    case("R009", [b'{"messages": [], "x": NaN}\n'], [GOOD], (1, 23)),
    case("R010", [{"messages": []}], [GOOD], (1, 14)),
    case("R010", [{"messages": "hi"}], [GOOD], (1, 14)),
    case("R010", [{"other": 1}], [GOOD], (1, 1)),
    case("R011", [{"messages": ["hi", said("assistant", "b")]}], [GOOD], (1, 15)),
    case("R011", [talk({"content": "hi"}, said("assistant", "b"))], [GOOD], (1, 15)),
    case("R012", [talk(said("bot", "a"), said("assistant", "b"))], [GOOD], (1, 24)),
    case("R012", [talk(said("tool", "a"), said("assistant", "b"))], [GOOD], target="together"),
    case("R013", [talk(said("user", "a", mood=1), said("assistant", "b"))], [GOOD], (1, 48)),
    case("R014", [talk(said("user", "a"), said("assistant"))], [GOOD, calling(call())], (1, 82)),
    case(
        "R014", [talk(said("user"), said("assistant", "a"))], [talk(said("user", "a"), said("assistant", refusal="No"))]
    ),
    case("R015", [talk(said("user", "a"), said("assistant", "  "))], [GOOD]),
    case("R016", [talk(said("user", "a"))], [GOOD], (1, 14)),
    case("R017", [talk(*chat()["messages"], said("user", "thanks"))], [GOOD]),
    case("R018", [talk(said("user", "a"), said("system", "b"), said("assistant", "c"))], [GOOD]),
    case("R018", [talk(said("system", "b"), said("system", "b"), *chat()["messages"])], [GOOD]),
    case("R019", [talk(said("user", "a"), said("user", "b"), said("assistant", "c"))], [GOOD], target="together"),
    case(
        "R020",
        [talk(said("user", "a"), said("assistant", "b", weight=2))],
        [talk(said("user", "a"), said("assistant", "b", weight=1))],
    ),
    case("R020", [talk(said("user", "a"), said("assistant", "b", weight=True))], [GOOD]),
    case(
        "R021",
        [talk(said("user", "a"), said("assistant", "b", weight=0))],
        [talk(said("user", "a"), said("assistant", "b", weight=0), said("user", "c"), said("assistant", "d"))],
    ),
    case(
        "R022",
        [talk(said("user", "a", name="Jane Roe"), said("assistant", "b"))],
        [talk(said("user", "a", name="jane"), said("assistant", "b"))],
    ),
    case("R023", [talk(said("system", "a"), said("assistant", "b"))], [GOOD]),
    case(
        "R024",
        [talk(said("user", 7), said("assistant", "b"))],
        [talk(said("user", [{"type": "text", "text": "a"}]), said("assistant", "b"))],
    ),
    case("R024", [talk(said("user", [{"type": "sound"}]), said("assistant", "b"))], [GOOD]),
    case("R024", [talk(said("user", [{"type": "text"}]), said("assistant", "b"))], [GOOD]),
    case("R025", [talk(said("user", "a", weight=1), said("assistant", "b"))], [GOOD]),
    case("R026", [line(GOOD)[:-1] + b" " + line(GOOD)], [GOOD], (1, len(line(GOOD)) + 1)),
    case(
        "R027",
        [talk(said("developer", "a"), *chat()["messages"])],
        [talk(said("system", "a"), *chat()["messages"])],
        (1, 24),
        target="together",
    ),
    case("R028", [talk(said("user", ""), said("assistant", "b"))], [GOOD]),
    case("T001", [calling(call(identity=None))], [calling(call())]),
    case("T001", [calling(call(), call())], [calling(call(), call(identity="call_2"))]),
    case("T002", [calling(call({"id": 1}))], [calling(call())]),
    case("T002", [calling(call("{id: 1}"))], [calling(call())]),
    case("T002", [calling(call("[1]"))], [calling(call())]),
    case("T003", [calling(call('{"id": "one"}'))], [calling(call())]),
    case("T003", [calling(call("{}"))], [calling(call("{}"), tools=[tool(parameters={"type": "object"})])]),
    case("T004", [calling(call(name="other"))], [calling(call())]),
    case("T004", [{k: v for k, v in calling(call()).items() if k != "tools"}], [calling(call())]),
    case(
        "T005",
        [talk(said("user", "a"), said("tool", "b", tool_call_id="call_9"), said("assistant", "c"))],
        [calling(call())],
    ),
    case(
        "T006",
        [
            talk(
                said("user", "a"), {"role": "assistant", "tool_calls": [call()]}, said("assistant", "c"), tools=[tool()]
            )
        ],
        [calling(call())],
    ),
    case(
        "T007",
        [talk(said("user", "a"), {"role": "assistant", "function_call": {"name": "x", "arguments": "{}"}})],
        [calling(call())],
    ),
    case("T007", [chat(functions=[{"name": "x"}])], [chat(tools=[tool()])]),
    case("T008", [chat(tools=[tool("no spaces")])], [chat(tools=[tool()])]),
    case("T008", [chat(tools=[tool(f"t{n}") for n in range(129)])], [chat(tools=[tool(f"t{n}") for n in range(128)])]),
    case(
        "T009",
        [calling(call(), call(identity="c2"), parallel_tool_calls=False)],
        [calling(call(), parallel_tool_calls=False)],
    ),
    case("T010", [calling(call(json.dumps('{"id": 1}')))], [calling(call())]),
    case("T011", [chat(tools=[{"type": "function"}])], [chat(tools=[tool()])]),
    case("T011", [chat(tools=[tool(parameters={"type": "objekt"})])], [chat(tools=[tool()])]),
    case("T011", [chat(tools=[tool(), tool()])], [chat(tools=[tool(), tool("other")])]),
    case("T012", [talk(said("user", "a"), {"role": "assistant", "tool_calls": [{"id": "x"}]})], [calling(call())]),
    case("T012", [talk(said("user", "a", tool_calls=[call()]), said("assistant", "b"))], [calling(call())]),
    case("T013", [calling(call())], [GOOD], target="together"),
    case("I001", [shown(PNG, role="assistant")], [shown(PNG)]),
    case("I002", [shown(*[PNG] * 11)], [shown(*[PNG] * 10)]),
    case("I003", [shown(BIG)], [shown(PNG)]),
    case("I004", [shown("data:image/png;base64,R0lGODlhAQABAAAAACw=")], [shown(PNG)]),
    case("I004", [shown(PNG.replace("image/png", "image/jpeg"))], [shown(PNG)]),
    case("I005", [shown("http://pictures.test/a.png")], [shown("https://pictures.test/a.png")]),
    case("I005", [shown("data:image/png;base64,!!!")], [shown(PNG)]),
    case("I005", [shown("https://pictures.test/a.png")], [shown(PNG)], target="together"),
    case("I006", [shown(PNG), GOOD], [shown(PNG)], target="together"),
    case("I008", [shown(PNG, weight=1)], [shown(PNG)], target="together"),
    case("I009", [shown(GREY_PNG)], [shown(PNG)]),
    case("L001", [chat("a", LONG * 4)], [chat("a", LONG)]),
    case("L001", [chat("a", LONG)], [chat("a", "b")], base="gpt-3.5-turbo"),
    case("L002", [chat(LONG, "b")], [GOOD]),
    case("L004", [GOOD], [], base="llama-3"),
    case("L005", [GOOD], [], base="llama-3"),
    case("D001", [pair() | {"preferred_completion": [said("assistant", "x")]}], [pair()], method="dpo"),
    case("D002", [pair(preferred_output=[said("user", "a")])], [pair()], method="dpo"),
    case("D002", [pair(preferred_output=[said("assistant", "a")] * 2)], [pair()], method="dpo"),
    case("D003", [pair("same", "same")], [pair()], method="dpo"),
    case("D004", [pair(input={"messages": [said("user", "a"), said("assistant", "b")]})], [pair()], method="dpo"),
    case(
        "D005",
        [pair(f"{n} " + "long " * 20, "no") for n in range(20)],
        [pair(f"yes {n}", "no, go") for n in range(20)],
        method="dpo",
    ),
    case(
        "D006", [{key: value for key, value in pair().items() if key != "non_preferred_output"}], [pair()], method="dpo"
    ),
    case("D006", [GOOD], [pair()], method="dpo"),
    case("D007", [pair(input={"messages": shown(PNG)["messages"][:1]})], [pair()], method="dpo"),
    case("D008", [pair()], [GOOD]),
    case("D009", [pair(input={"messages": [said("user", "a")], "user": 1})], [pair()], method="dpo"),
    case("G001", [chat(reference="x")], [talk(said("user", "a"), reference="x")], method="reinforcement"),
    case(
        "G002",
        [talk(said("user", "a"), ref="x"), talk(said("user", "b"))],
        [talk(said("user", "a"), ref="x")],
        method="reinforcement",
    ),
    case("G003", [talk(said("user", "a"), sample="x")], [talk(said("user", "a"), ref="x")], method="reinforcement"),
    case("G004", [talk(said("user", "a"))], [talk(said("user", "a"), ref="x")], method="reinforcement"),
    case("Q001", [GOOD, GOOD], [GOOD, chat("Other?")], (2, 1)),
    case(
        "Q002",
        [
            chat("Where is the parcel that I ordered on your page last week?", "On its way."),
            chat("Where is the parcel that I ordered on your page last week??", "On its way."),
        ],
        distinct(2),
        (2, 1),
    ),
    case("Q003", [chat(answer="Yes, you can do that."), chat(answer="No, that is not possible.")], [GOOD, GOOD]),
    case("Q004", [*BOTH], [*distinct(10)], validation=[BOTH[-1]]),
    case("Q005", [chat(f"{n}", "I'm sorry, but I cannot help with that.") for n in range(20)], distinct(20)),
    case("Q006", [talk(said("system", "a"), *chat()["messages"]), GOOD], [GOOD, GOOD]),
    case("Q007", labels(("refund", 60), ("delivery", 2)), labels(("refund", 30), ("delivery", 25))),
    case(
        "Q008",
        [chat(f"{n}", f"{TEXT} {n}") for n in range(15)] + [chat(f"x{n}", f"{ENGLISH} {n}") for n in range(15)],
        [chat(f"x{n}", f"{ENGLISH} {n}") for n in range(30)],
    ),
    case(
        "Q009",
        [chat("What is it?", "It costs $49.99 a month.")],
        [chat("It costs $49.99 a month. How much?", "$49.99")],
    ),
    case("Q010", [chat("a", '{"a": 1, "b": "cut of')], [chat("a", '{"a": 1}')]),
    case("Q010", [chat("a", "Run:\n```\nls")], [chat("a", "Run:\n```\nls\n```")]),
    case(
        "Q011",
        [chat(f"{n}", '{"a": 1}') for n in range(9)] + [chat("b", "plain")],
        [chat(f"{n}", '{"a": 1}') for n in range(9)],
    ),
    case(
        "Q012",
        [chat(f"{n}", '{"a": 1}') for n in range(30)] + [chat("b", '{"z": 1}')],
        [chat(f"{n}", '{"a": 1}') for n in range(30)],
    ),
    case("Q013", labels(("refund", 20), ("Refund ", 15), ("delivery", 12)), labels(("refund", 20), ("delivery", 12))),
    case("Q014", [GOOD] * 5 + distinct(20), [GOOD] * 2 + distinct(20)),
    case("Q015", [chat("a", "Dear [Your Name], thanks.")], [chat("Use [Your Name].", "Dear [Your Name], thanks.")]),
    case("Q016", [chat("a", "Das schmeckt schÃ¶n.")], [chat("a", "Das schmeckt schön.")]),
    case("Q017", [chat("a", "As an AI language model I have none.")], [chat("a", "I am as an oak.")]),
    case("Q018", [chat("When?", "We open at 9 am.")], [chat("We open at 9 am, right?", "Yes, at 9 am.")]),
    case("Q019", [chat("a", "Eat a banana! " * 60)], [chat("a", " ".join(f"word{n}" for n in range(120)))]),
    case("Q020", [chat("The same?", "Yes.")], [chat("Another?", "Yes.")], validation=[chat("The same?", "No.")]),
    case(
        "Q021",
        [chat("Where is the parcel that I ordered last week?", "On its way now.")],
        distinct(3),
        validation=[chat("Where is the parcel that I ordered last week??", "On its way now.")],
    ),
    case(
        "Q022",
        [talk(said("user", "Hello there"), said("assistant", "Hi"), said("user", "Bye"), said("assistant", "Bye"))],
        distinct(3),
        validation=[chat("Hello there", "Good morning to you and all the others")],
    ),
    case("P001", [chat("a", f"The key is {SECRET}.")], [chat("a", "The key is sk-short.")]),
    case("P002", [chat(MAIL)], [chat("Write to us at our firm.")], (1, 43)),
    case("P003", [chat("Call +49 170 1234567 now")], [chat("Order 2024-11-05 1234567 came")]),
    case("P004", [chat("My card is 4111 1111 1111 1111")], [chat("My order is 4111 1111 1111 1112")]),
    case("P005", [chat("Pay DE89 3704 0044 0532 0130 00")], [chat("Pay DE89 3704 0044 0532 0130 01")]),
    case("P006", [chat("From 203.0.113.7 again")], [chat("From 127.0.0.1 and version 1.2.3.400")]),
    case("P007", [chat("My number is 536-22-4871")], [chat("My number is 000-22-4871")]),
    case("P007", [chat("DNI 12345678Z")], [chat("DNI 12345678A")]),
]
# Files of these would be half a gigabyte, or millions of rows; their rules are tested with smaller limits below.
TOO_LARGE = {"F003", "F014", "I007"}


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda number: f"{CASES[number].code}-{number}")
def test_a_code_speaks_of_its_fault_and_of_nothing_else(number: int) -> None:
    one = CASES[number]
    options: dict[str, Any] = {"limit": None} | one.options
    told = linted(*one.rows, **options)
    assert one.code in dict(told.counts), told.faults
    if one.at is not None:
        assert one.at in {(fault.line, fault.column) for fault in told.faults if fault.code == one.code}, told.faults
    if one.code in {"L004", "L005"}:
        options["base"] = "gpt-4o-mini"
    assert one.code not in dict(linted(*(one.others or [GOOD]), **options).counts)


def test_every_code_has_its_case() -> None:
    """A rule without a file that shows it is a promise nobody has tried."""
    assert {one.code for one in CASES} == CODES.keys() - TOO_LARGE
    assert len(CODES) >= 45


def test_the_page_of_codes_is_the_one_the_code_gives() -> None:
    assert codes_table() in PAGE.read_text(encoding="utf-8")
