"""What `fix` mends, and that it leaves alone what it would have to guess."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import UnreadableDocument
from gateway.tuning.datasets.fixing import Fixing
from gateway.tuning.datasets.targets import target_of
from tests.fakes.training_rows import call, calling, chat, line, lines, linted, pair, said, talk
from tests.unit.tuning.datasets.test_codes import CASES


def fixed(
    *rows: Any, target: str = "openai", method: Any = "supervised", dedupe: bool = False
) -> tuple[bytes, dict[str, int]]:
    fixing = Fixing(target_of(target), method, drops_duplicates=dedupe)
    out = b"".join(one.line for one in fixing.rows(lines(*rows)))
    return out, {code: count for code, count in fixing.changes.items() if count}


MENDED: list[tuple[str, Any, Any, dict[str, Any]]] = [
    ("F006", [chat(), b"\n"], [chat()], {}),
    ("F007", [json.dumps([chat(), chat("b")], indent=2).encode()], [chat(), chat("b")], {}),
    ("F010", [b"\xef\xbb\xbf" + line(chat())], [chat()], {}),
    ("F011", [line(chat())[:-1] + b"\r\n"], [chat()], {}),
    ("R003", [chat(id=1)], [chat()], {}),
    ("R004", [repr(chat()).encode() + b"\n"], [chat()], {}),
    ("R005", [line(chat())[:-1] + b",\n"], [chat()], {}),
    ("R006", [{"prompt": "a\n\n###\n\n", "completion": " b"}], [chat("a\n\n###", "b")], {}),
    ("R007", [{"system": "s", **chat()}], [talk(said("system", "s"), *chat()["messages"])], {}),
    ("R013", [talk(said("user", "a"), said("assistant", "b", annotations=[]))], [chat("a", "b")], {}),
    ("R017", [talk(*chat()["messages"], said("user", "thanks"))], [chat()], {}),
    (
        "R019",
        [talk(said("user", "a"), said("user", "b"), said("assistant", "c"))],
        [chat("a\n\nb", "c")],
        {"target": "together"},
    ),
    ("R025", [talk(said("user", "a", weight=1), said("assistant", "b"))], [chat("a", "b")], {}),
    ("R026", [line(chat())[:-1] + line(chat("b"))], [chat(), chat("b")], {}),
    (
        "R027",
        [talk(said("developer", "s"), *chat()["messages"])],
        [talk(said("system", "s"), *chat()["messages"])],
        {"target": "together"},
    ),
    ("T002", [calling(call({"id": 1}))], [calling(call())], {}),
    ("T010", [calling(call(json.dumps('{"id": 1}')))], [calling(call())], {}),
    ("T007", [chat(functions=[{"name": "x"}])], [chat(tools=[{"type": "function", "function": {"name": "x"}}])], {}),
    (
        "D001",
        [{("preferred_completion" if key == "preferred_output" else key): value for key, value in pair().items()}],
        [pair()],
        {"method": "dpo"},
    ),
    ("Q001", [chat(), chat()], [chat()], {"dedupe": True}),
]


@pytest.mark.parametrize("number", range(len(MENDED)), ids=lambda number: MENDED[number][0])
def test_what_is_plain_is_mended_and_told(number: int) -> None:
    code, rows, wanted, options = MENDED[number]
    out, changes = fixed(*rows, **options)
    assert [json.loads(text) for text in out.splitlines()] == wanted
    assert changes == {code: changes[code]}


def test_ids_of_calls_are_made_by_their_place() -> None:
    out, changes = fixed(calling(call(identity=None)))
    assert json.loads(out)["messages"][1]["tool_calls"][0]["id"] == "call_1_0"
    assert changes == {"T001": 1}


def test_an_old_function_call_and_its_result_become_a_tool_call_and_its_result() -> None:
    row = talk(
        said("user", "a"),
        {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "1"},
        said("assistant", "b"),
        functions=[{"name": "f"}],
    )
    out, _ = fixed(row)
    assert not {"T001", "T004", "T005", "T006", "T007"} & dict(linted(out).counts).keys()


@pytest.mark.parametrize(
    "row",
    [
        talk(said("bot", "a"), said("assistant", "b")),
        talk(said("user", "a"), said("assistant", "b", weight=2)),
        talk(said("user", "a"), said("assistant")),
        b'{"messages": [], "messages": [1]}\n',
        b'{"messages": [{"role"\n',
        b"\xff\xfe bytes\n"[2:],
    ],
)
def test_what_would_have_to_be_guessed_is_kept_to_the_byte(row: Any) -> None:
    out, changes = fixed(chat(), row)
    assert out.splitlines(keepends=True)[1] == line(row)
    assert not changes


def test_a_good_row_keeps_its_bytes() -> None:
    written = json.dumps(chat("Grüße"), indent=None, separators=(" ,  ", ": ")).encode() + b"\n"
    assert fixed(written)[0] == written


def test_duplicates_stay_unless_asked_for() -> None:
    assert fixed(chat(), chat())[0] == line(chat()) * 2


@pytest.mark.parametrize(
    "text", [b"PAR1 and more\n", b"question,answer\na,b\n", b'[\n{"messages": []},\n{"messages"\n]']
)
def test_a_file_that_would_be_lost_is_refused(text: bytes) -> None:
    with pytest.raises(UnreadableDocument):
        fixed(text)


@pytest.mark.parametrize("target", ["openai", "together"])
def test_mending_twice_is_mending_once(target: str) -> None:
    """Over every faulty file of the suite of codes."""
    for one in CASES:
        method = one.options.get("method", "supervised")
        for dedupe in (False, True):
            try:
                once, _ = fixed(*one.rows, target=target, method=method, dedupe=dedupe)
            except UnreadableDocument:
                continue
            again, changes = fixed(once, target=target, method=method, dedupe=dedupe)
            assert again == once, one.code
            assert not changes, one.code


Words = st.sampled_from(["role", "content", "weight", "name", "x", "system", "messages", "function_call", "tool_calls"])
Messages: st.SearchStrategy[Any] = st.lists(
    st.dictionaries(
        Words, st.sampled_from(["user", "assistant", "developer", "function", 1, None, {}, []]), max_size=4
    ),
    max_size=4,
)


@given(Messages, st.sampled_from(["openai", "together", "local"]))
def test_mending_twice_is_mending_once_for_any_messages(messages: list[dict[str, object]], target: str) -> None:
    once, _ = fixed({"messages": messages, "system": "s", "extra": 1}, target=target)
    again, changes = fixed(once, target=target)
    assert (again, changes) == (once, {})
