"""What the offline upstream says: the same words for the same question, marked as a rehearsal."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.core.call import Turn
from gateway.core.values import Value
from gateway.offline.schema import NoInstance, smallest_instance
from gateway.offline.sources import best_sentence, grounds_of
from gateway.offline.tokens import pieces_of

MARK = "[offline rehearsal]"
NO_SOURCE_FITS = "The sources do not answer this question."
# A natural way to ask for a long answer: "Count to 300".
_COUNT_TO = re.compile(r"\bcount (?:from (?:1|one) )?to (\d{1,5})\b", re.IGNORECASE)
MAX_ECHO_WORDS = 30


class ToolCall(Value, frozen=True):
    """A function the answer asks for; `arguments` is JSON text that fits the function's schema."""

    name: str
    arguments: str


class Said(Value, frozen=True):
    """One answer. pieces: its text, or the arguments of `tool`, cut into tokens. cut: a limit ended it."""

    pieces: tuple[str, ...]
    cut: bool = False
    tool: ToolCall | None = None

    @property
    def text(self) -> str:
        """The whole of it."""
        return "".join(self.pieces)

    @property
    def tokens(self) -> int:
        """How many tokens it is billed as."""
        return len(self.pieces)


def plain_answer(model: str, turns: Sequence[Turn]) -> str:
    """The answer as text: from the sources it was given, else an echo; formal for a tuned model."""
    grounds = grounds_of(turns)
    counted = _COUNT_TO.search(grounds.question)
    if grounds.sources:
        best = best_sentence(grounds.question, grounds.sources)
        body = f"{best[0]} [{best[1]}]" if best else NO_SOURCE_FITS
    elif counted:
        body = " ".join(map(str, range(1, int(counted[1]) + 1)))
    elif turns and turns[-1].role == "tool":
        body = f"The tool answered: {_shortened(turns[-1].text)}"
    else:
        body = f"You wrote: {_shortened(grounds.question)}" if grounds.question.strip() else "You wrote nothing."
    return f"{MARK} {_in_tuned_style(body)}" if model.startswith("ft:") else f"{MARK} {body}"


def answer_to_format(model: str, turns: Sequence[Turn], wanted: dict[str, Any] | None) -> str:
    """The answer as the caller's response format asks: text, any JSON object, or JSON after a schema.

    A schema that no value fits gets `{}`: the caller's own check then fails as it would on a bad answer.
    """
    kind = (wanted or {}).get("type")
    if kind == "json_schema" and wanted is not None:
        schema = wanted.get("schema") or (wanted.get("json_schema") or {}).get("schema") or {}
        return _json(_instance(schema))
    text = plain_answer(model, turns)
    return _json({"answer": text}) if kind == "json_object" else text


def tool_call(tools: Sequence[dict[str, Any]], choice: Any, turns: Sequence[Turn]) -> ToolCall | None:
    """The call the answer makes, or None for text.

    tools: `{name, parameters}` of each function. choice: OpenAI's `tool_choice`. A named or required tool is
    called; with `auto`, a tool whose name stands in the last user turn, once.
    """
    if not tools or choice == "none":
        return None
    named = _name_in(choice)
    if named is not None:
        found = next((tool for tool in tools if tool["name"] == named), None)
    elif choice == "required":
        found = tools[0]
    elif turns and turns[-1].role == "user":
        found = next((tool for tool in tools if tool["name"] in turns[-1].text), None)
    else:
        found = None
    if found is None:
        return None
    return ToolCall(name=found["name"], arguments=_json(_instance(found.get("parameters") or {"type": "object"})))


def limited(text: str, limit: int | None, stops: Sequence[str], tool: ToolCall | None = None) -> Said:
    """The text up to the first stop sequence (which is left out) and to at most `limit` tokens."""
    ends = [place for stop in stops if stop and (place := text.find(stop)) >= 0]
    pieces = pieces_of(text[: min(ends)] if ends else text)
    if limit is not None and len(pieces) > limit:
        return Said(pieces=tuple(pieces[:limit]), cut=True, tool=tool)
    return Said(pieces=tuple(pieces), tool=tool)


def _name_in(choice: Any) -> str | None:
    """The function that a `tool_choice` names, in the shape of either API."""
    if not isinstance(choice, dict):
        return None
    inner = choice.get("function")
    name = (inner if isinstance(inner, dict) else choice).get("name")
    return name if isinstance(name, str) else None


def _in_tuned_style(body: str) -> str:
    return f"Dear customer,\n\n{body}\n\nKind regards,\nYour support team"


def _shortened(text: str) -> str:
    words = text.split()
    more = " ..." if len(words) > MAX_ECHO_WORDS else ""
    return f'"{" ".join(words[:MAX_ECHO_WORDS])}{more}"'


def _instance(schema: Any) -> Any:
    try:
        return smallest_instance(schema)
    except (NoInstance, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return {}  # A schema is the caller's text: whatever is wrong in it must not end the server's answer.


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
