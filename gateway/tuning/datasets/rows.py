"""A row as rules look at it: which form it has, and its messages one by one."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, TypeGuard

from gateway.core.values import Value
from gateway.tuning.datasets.places import Place
from gateway.tuning.examples import content_text

Form = Literal["chat", "preference", "completion", "other"]
SYSTEM = frozenset({"system", "developer"})
# Both spellings of the two outputs: the guide's and real files', and that of an earlier API description.
CHOSEN = ("preferred_output", "preferred_completion")
REJECTED = ("non_preferred_output", "non_preferred_completion")


class Turn(Value, frozen=True):
    """One message. role: "" when there is none. text: what it says, of parts those that are text."""

    place: Place
    role: str
    text: str
    message: Mapping[str, object]

    @property
    def calls(self) -> Sequence[object]:
        """Its tool calls, as they stand."""
        calls = self.message.get("tool_calls")
        return calls if isinstance(calls, list) else ()

    @property
    def is_answer(self) -> bool:
        """The assistant says or calls something."""
        return self.role == "assistant"


class Row(Value, frozen=True):
    """One example. text: the line as it stands. data: its object.

    turns: the messages of a chat row, or of a preference row's input. chosen, rejected: its two outputs.
    tools: what is declared to be callable.
    """

    line: int
    text: str
    data: Mapping[str, object]
    form: Form
    turns: tuple[Turn, ...]
    chosen: tuple[Turn, ...] = ()
    rejected: tuple[Turn, ...] = ()
    tools: Sequence[object] = ()

    @property
    def answer(self) -> Turn | None:
        """What is learned last: the preferred output, or the last message if the assistant's."""
        if self.form == "preference":
            return next((turn for turn in self.chosen if turn.is_answer), None)
        return self.turns[-1] if self.turns and self.turns[-1].is_answer else None

    @property
    def prompt(self) -> tuple[Turn, ...]:
        """Everything that stands before the answer."""
        return self.turns[:-1] if self.form != "preference" and self.answer is not None else self.turns

    @property
    def messages_place(self) -> Place:
        """Where the messages stand."""
        return ("input", "messages") if self.form == "preference" else ("messages",)

    def all_turns(self) -> Iterator[Turn]:
        """Every message, outputs included."""
        yield from self.turns
        yield from self.chosen
        yield from self.rejected


def is_object(value: object) -> TypeGuard[Mapping[str, object]]:
    """A JSON object."""
    return isinstance(value, dict)


def read_row(line: int, text: str, data: Mapping[str, object]) -> Row:
    """The row's form and messages; what is not of the right type is left out, for the rules to speak of."""
    if "input" in data and any(key in data for key in (*CHOSEN, *REJECTED)):
        given = data["input"]
        asked = given if is_object(given) else {}
        return Row(
            line,
            text,
            data,
            "preference",
            _turns(asked.get("messages"), ("input", "messages")),
            _output(data, CHOSEN),
            _output(data, REJECTED),
            _list(asked.get("tools")),
        )
    if "messages" in data:
        return Row(line, text, data, "chat", _turns(data["messages"], ("messages",)), tools=_list(data.get("tools")))
    if any(key in data for key in (*CHOSEN, *REJECTED)):
        return Row(line, text, data, "preference", (), _output(data, CHOSEN), _output(data, REJECTED))
    return Row(line, text, data, "completion" if {"prompt", "completion"} <= data.keys() else "other", ())


def _output(data: Mapping[str, object], keys: tuple[str, ...]) -> tuple[Turn, ...]:
    return next((_turns(data[key], (key,)) for key in keys if key in data), ())


def _turns(messages: object, place: Place) -> tuple[Turn, ...]:
    if not isinstance(messages, list):
        return ()
    return tuple(_turn(message, (*place, number)) for number, message in enumerate(messages) if is_object(message))


def _turn(message: Mapping[str, object], place: Place) -> Turn:
    role, content = message.get("role"), message.get("content")
    said = content if isinstance(content, str) else content_text(content)
    return Turn(place, role if isinstance(role, str) else "", said, message)


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()
