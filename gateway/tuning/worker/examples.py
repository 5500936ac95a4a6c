"""Training files as the worker reads them: every fault of a file at once, by line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from gateway.core.values import Value
from gateway.tuning.worker.job import LocalMethod

# A message goes to the tokenizer's chat template as it is, whatever keys it has.
Turn = dict[str, Any]
Turns = list[Turn]

MOST_TOLD = 20
ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}


class Example(Value, frozen=True):
    """One line. turns: with the answer, or only what comes before it where there are two: better and worse.

    weights: of each turn, whether it is trained on. line: in its file, from 1.
    """

    line: int
    turns: Turns
    weights: tuple[bool, ...]
    tools: list[Any]
    better: Turn | None = None
    worse: Turn | None = None


class FileFaults(Exception):
    """A file that cannot be trained on. faults: each with its line."""

    def __init__(self, faults: list[str]) -> None:
        more = f" And {len(faults) - MOST_TOLD} more." if len(faults) > MOST_TOLD else ""
        super().__init__(" ".join(faults[:MOST_TOLD]) + more)
        self.faults = faults


def read_file(path: Path, method: LocalMethod) -> list[Example]:
    """The examples of a JSONL file. Raises FileFaults with all that is wrong with it, an empty file too."""
    read = _preference if method == "dpo" else _conversation
    examples: list[Example] = []
    faults: list[str] = []
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            _collect(line, number, read, examples, faults)
    if not faults and not examples:
        faults.append("The file has no examples.")
    if faults:
        raise FileFaults(faults)
    return examples


def _collect(
    line: bytes, number: int, read: Callable[[int, Turn], Example], examples: list[Example], faults: list[str]
) -> None:
    try:
        found = msgspec.json.decode(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
        if not isinstance(found, dict):
            raise ValueError("a line is a JSON object")  # noqa: TRY301, TRY004  # told with the others of its line
        examples.append(read(number, found))
    except msgspec.DecodeError as fault:
        faults.append(f"Line {number}: no whole JSON ({fault}).")
    except UnicodeDecodeError:
        faults.append(f"Line {number}: not UTF-8.")
    except ValueError as fault:
        faults.append(f"Line {number}: {fault}.")


def _conversation(number: int, line: Turn) -> Example:
    messages = line.get("messages")
    if not isinstance(messages, list) or not messages:
        raise ValueError("`messages` is a list with at least one message")
    turns = [read_turn(message) for message in messages]
    weights = tuple(_is_trained(message) for message in messages)
    if not any(weights):
        raise ValueError("there is no assistant message to learn from")
    last = max(index for index, trained in enumerate(weights) if trained)
    return Example(number, turns[: last + 1], weights[: last + 1], _tools(line))


def _preference(number: int, line: Turn) -> Example:
    asked = line.get("input")
    messages = asked.get("messages") if isinstance(asked, dict) else None
    if not isinstance(asked, dict) or not isinstance(messages, list) or not messages:
        raise ValueError("`input.messages` is a list with at least one message")
    turns = [read_turn(message) for message in messages]
    if turns[-1]["role"] == "assistant":
        raise ValueError("`input.messages` ends with an answer")
    better = _answer(line, "preferred_output", "preferred_completion")
    worse = _answer(line, "non_preferred_output", "non_preferred_completion")
    if better == worse:
        raise ValueError("the preferred output and the other are the same")
    return Example(number, turns, (False,) * len(turns), _tools(asked), better, worse)


def _answer(line: Turn, name: str, other: str) -> Turn:
    messages = line.get(name, line.get(other))
    if not isinstance(messages, list) or len(messages) != 1:
        raise ValueError(f"`{name}` is a list with exactly one message")
    turn = read_turn(messages[0])
    if turn["role"] != "assistant":
        raise ValueError(f"`{name}` holds a message of the assistant")
    return turn


def _is_trained(message: Turn) -> bool:
    weight = message.get("weight", 1)
    if weight not in (0, 1):
        raise ValueError(f"a weight is 0 or 1, not {weight!r}")
    return bool(message["role"] == "assistant" and weight == 1)


def _tools(line: Turn) -> list[Any]:
    tools = line.get("tools") or []
    if not isinstance(tools, list):
        raise ValueError("`tools` is a list")  # noqa: TRY004  # told with the others of its line
    return tools


def read_turn(message: Any) -> Turn:
    """A message as chat templates want it: plain text, arguments of tool calls as objects. Raises ValueError."""
    if not isinstance(message, dict) or message.get("role") not in ROLES:
        raise ValueError(f"a message is an object with a role of {', '.join(ROLES)}")
    calls = message.get("tool_calls")
    turn: Turn = {"role": ROLES[message["role"]], "content": _text(message.get("content"), has_calls=bool(calls))}
    if calls:
        turn["tool_calls"] = [_call(call) for call in calls]
    turn |= {name: message[name] for name in ("name", "tool_call_id") if message.get(name)}
    return turn


def _text(content: Any, *, has_calls: bool) -> str:
    if isinstance(content, str):
        return content
    if content is None and has_calls:
        return ""
    if not isinstance(content, list):
        raise ValueError("a message has content")  # noqa: TRY004  # told with the others of its line
    parts = [part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None for part in content]
    if not all(isinstance(part, str) for part in parts):
        raise ValueError("content is text; pictures and audio are not trained on here")
    return "".join(map(str, parts))


def _call(call: Any) -> Turn:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise ValueError("a tool call has a function with a name")  # noqa: TRY004  # told with the others of its line
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = msgspec.json.decode(arguments or "{}")
        except msgspec.DecodeError:
            raise ValueError("the arguments of a tool call are JSON") from None
    return {"id": call.get("id"), "type": "function", "function": {"name": function["name"], "arguments": arguments}}
