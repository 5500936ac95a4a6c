"""What a rule did not change arrives as the caller wrote it, to the byte."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.decision import Arm
from gateway.wire.json_object import read_object
from gateway.wire.rewrite import rewritten
from tests.fakes.calls import DIRECT, read

OTHER = Arm(path="direct", upstream="main", model="other-model")
NAMES = st.text(st.characters(codec="utf-8"), max_size=12)
NUMBERS = st.sampled_from(["0", "-0", "1.50", "1e2", "1E+2", "0.1e-7", "12345678901234567890123", "1e400"])
SPACE = st.sampled_from(["", " ", "\n\t", "  "])


@st.composite
def texts(draw: st.DrawFn, value: str) -> str:
    """A JSON string in one of its spellings."""
    written = json.dumps(value, ensure_ascii=draw(st.booleans()))
    return written.replace("/", "\\/") if draw(st.booleans()) else written


@st.composite
def values(draw: st.DrawFn, depth: int = 3) -> str:
    """JSON as somebody might write it: any white space, any spelling of numbers and strings."""
    kinds = ["number", "text", "word"] + (["list", "object"] if depth else [])
    kind = draw(st.sampled_from(kinds))
    pad = draw(SPACE)
    if kind == "number":
        return draw(NUMBERS)
    if kind == "text":
        return draw(texts(draw(NAMES)))
    if kind == "word":
        return draw(st.sampled_from(["null", "true", "false"]))
    inside = [draw(values(depth - 1)) for _ in range(draw(st.integers(0, 3)))]
    if kind == "list":
        return f"[{pad}" + f"{pad},".join(inside) + f"{pad}]"
    pairs = [f"{draw(texts(draw(NAMES)))}{pad}:{pad}{one}" for one in inside]
    return f"{{{pad}" + f",{pad}".join(pairs) + f"{pad}}}"


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, dict[str, str]]:
    """A chat body with unknown fields anywhere, and those fields as they were written."""
    unknown = {f"x_{n}": draw(values()) for n in range(draw(st.integers(0, 4)))}
    stream = draw(st.sampled_from([None, "true", "false"]))
    fields = [
        ("model", '"gpt-4.1-mini"'),
        ("messages", '[{"role":"user","content":"Hi", "name" : "A\\u006en"}]'),
        *([("stream", stream)] if stream else []),
        *unknown.items(),
    ]
    order = draw(st.permutations(fields))
    pad = draw(SPACE)
    written = f"{{{pad}" + f"{pad},{pad}".join(f'"{key}"{pad}:{pad}{value}' for key, value in order) + f"{pad}}}{pad}"
    return written.encode(), unknown


@given(given_body=bodies(), asks=st.booleans())
def test_unknown_fields_survive_to_the_byte(*, given_body: tuple[bytes, dict[str, str]], asks: bool) -> None:
    body, unknown = given_body
    call = read(body)
    sent, injected = rewritten(call, OTHER, may_ask_usage=asks, block="The sources.")
    before, after = read_object(body), read_object(sent)
    assert [key for key in after if key in before] == list(before), "and so does their order"
    assert set(after) - set(before) == ({"stream_options"} if injected else set())
    assert injected == (asks and call.stream)
    for key, value in before.items():
        if key not in {"model", "messages", "stream_options"}:
            assert bytes(after[key]) == bytes(value)
    for key, written in unknown.items():
        assert bytes(after[key]) == written.strip().encode()


@given(bodies())
def test_a_call_that_nothing_changes_is_not_written_anew(given_body: tuple[bytes, dict[str, str]]) -> None:
    call = read(given_body[0])
    assert rewritten(call, DIRECT, may_ask_usage=False) == (call.inbound.body, False)


TURNS = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant", "developer"]), "content": NAMES},
        optional={"name": NAMES, "x": st.integers()},
    ),
    max_size=6,
)


@given(TURNS, NAMES, NAMES, st.sampled_from(["/v1/chat/completions", "/v1/responses"]))
def test_sources_come_just_before_the_last_user_turn(
    turns: list[dict[str, Any]], question: str, block: str, path: str
) -> None:
    asked = [*turns, {"role": "user", "content": question}, {"role": "assistant", "content": "Let me see."}]
    field = "input" if path.endswith("responses") else "messages"
    call = read({"model": "gpt-4.1-mini", field: asked}, path)
    body, _ = rewritten(call, DIRECT, may_ask_usage=True, block=block)
    place = len(turns)
    assert json.loads(body)[field] == [*asked[:place], {"role": "user", "content": block}, *asked[place:]]
