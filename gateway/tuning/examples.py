"""A line's training file as a set of examples: what its model was taught to answer, and in which form."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from gateway.core.errors import BadConfiguration
from gateway.core.values import Value

# A larger file is thinned evenly: nearest examples hardly come nearer, and memory and start-up time stay small.
MOST_EXAMPLES = 1000
MOST_SYSTEM_PROMPTS = 50
MOST_FAULTS = 20
SYSTEM_ROLES = frozenset({"system", "developer"})


class _Message(msgspec.Struct):
    role: str = ""
    content: object = None


class _Input(msgspec.Struct):
    messages: list[_Message] = []
    tools: list[object] = []


class _Line(msgspec.Struct):
    """Chat form, the older prompt and completion, or the preference form with its `input` and the better answer."""

    messages: list[_Message] = []
    tools: list[object] = []
    prompt: str | None = None
    completion: str | None = None
    input: _Input | None = None
    preferred_output: list[_Message] = []


class Examples(Value, frozen=True):
    """What a training file teaches.

    turns: the last user turn of each example, thinned evenly to 1,000. system_prompts: the different ones, in
    order. most_messages: of the longest example, system prompts and the answer not counted. answers_json: most
    answers are JSON objects or arrays. has_tools: an example brings tools.
    """

    turns: tuple[str, ...]
    system_prompts: tuple[str, ...]
    most_messages: int
    answers_json: bool
    has_tools: bool


_decode = msgspec.json.Decoder(_Line).decode


def read_examples(path: Path) -> Examples:
    """The examples of a JSONL training file. Raises BadConfiguration naming the file's faulty lines."""
    try:
        with path.open("rb") as file:
            return _gathered(path, file)
    except OSError as fault:
        raise BadConfiguration([f"{path}: the training file cannot be read ({fault.strerror})."]) from None


def _gathered(path: Path, lines: Iterable[bytes]) -> Examples:
    turns: list[str] = []
    systems: dict[str, None] = {}
    most, json_answers, tools = 1, 0, False
    for messages, has_tools in _read(path, lines):
        said = [message for message in messages if message.role not in SYSTEM_ROLES]
        asked = [message for message in said if message.role == "user"]
        if not asked:
            continue
        turns.append(content_text(asked[-1].content))
        systems[system_prompt((message.role, content_text(message.content)) for message in messages)] = None
        answered = said[-1].role == "assistant"
        most = max(most, len(said) - answered)
        json_answers += answered and _is_json(content_text(said[-1].content))
        tools = tools or has_tools
    if not turns:
        raise BadConfiguration([f"{path}:1:1: the training file holds no example with a user turn."])
    step = max(1.0, len(turns) / MOST_EXAMPLES)
    kept = tuple(turns[int(place * step)] for place in range(min(len(turns), MOST_EXAMPLES)))
    return Examples(kept, tuple(systems)[:MOST_SYSTEM_PROMPTS], most, json_answers * 2 > len(turns), tools)


def _read(path: Path, lines: Iterable[bytes]) -> Iterator[tuple[list[_Message], bool]]:
    faults: list[str] = []
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            line = _decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
            faults.append(f"{path}:{number}:1: no training example: {fault}.")
            if len(faults) >= MOST_FAULTS:
                break
            continue
        if line.prompt is not None:
            yield [_Message("user", line.prompt), _Message("assistant", line.completion)], False
        elif line.input is not None:
            yield [*line.input.messages, *line.preferred_output], bool(line.input.tools)
        else:
            yield line.messages, bool(line.tools)
    if faults:
        raise BadConfiguration(faults)


def system_prompt(turns: Iterable[tuple[str, str]]) -> str:
    """The system prompts of (role, text) turns as one; spaces at ends and between words do not count."""
    return "\n".join(" ".join(text.split()) for role, text in turns if role in SYSTEM_ROLES)


def content_text(content: object) -> str:
    """A message's content as text: a string as it is, of parts those that are text."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "\n".join(text for text in texts if isinstance(text, str))
    return ""


def _is_json(text: str) -> bool:
    if text.lstrip()[:1] not in {"{", "["}:
        return False
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
