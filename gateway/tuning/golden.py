"""Golden sets: frozen items with their reference answers, named by what they hold."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from gateway.core.errors import InvalidRequest
from gateway.core.values import Value
from gateway.tuning.captured.examples import Rated, corrected_answer, reason
from gateway.tuning.datasets.digests import canonical, digest
from gateway.tuning.datasets.redaction import redacted
from gateway.wire.assembled import content_text

MOST_FAULTS = 20
# Labels are short, on one line, and few for many items.
LABEL_CHARACTERS = 64
LABELS_SHARE = 0.5


class GoldenItem(Value, frozen=True):
    """One item. key: of what is asked, the same for the same question. messages, tools, response_format: chat's.

    reference: the answer to compare with. cluster: what belongs together, such as a conversation.
    """

    key: str
    messages: list[Any]
    reference: str
    cluster: str
    tools: list[Any] | None = None
    response_format: Any = None


class _Line(msgspec.Struct):
    item: GoldenItem | None = None
    messages: list[dict[str, Any]] | None = None
    tools: list[Any] | None = None


_line = msgspec.json.Decoder(_Line)


class Recording:
    """Picks items of captured calls. left_out: why others were not taken, by reason."""

    def __init__(self) -> None:
        self.left_out: Counter[str] = Counter()
        self._items: dict[str, GoldenItem] = {}

    def add(self, rated: Rated) -> None:
        """Takes a call if its answer is one to be measured by."""
        call, said = rated
        why = reason(call, said)
        answer = corrected_answer(said) or msgspec.json.decode(call.answer)
        if not why and not content_text(answer.get("content")):
            why = "answered with a tool call"
        if why:
            self.left_out[why] += 1
            return
        row: dict[str, object] = {"messages": msgspec.json.decode(call.messages), "answer": answer}
        # Always: a golden set is a file that is copied about.
        after: dict[str, Any] = dict(redacted(row))
        messages, reference = after["messages"], content_text(after["answer"].get("content"))
        tools = msgspec.json.decode(call.tools) if call.tools else None
        form = msgspec.json.decode(call.response_format) if call.response_format else None
        item = _item(messages, reference, call.conversation, tools, form)
        if item.key in self._items:
            self.left_out["asked before"] += 1
        # The newest answer to a question is what the line says today.
        self._items[item.key] = item

    def items(self, count: int) -> list[GoldenItem]:
        """At most so many, in the order of their keys, which is by chance and always the same one."""
        return [self._items[key] for key in sorted(self._items)][:count]


def golden_text(items: Iterable[GoldenItem]) -> bytes:
    """A set as a file, one item a line: the same items give the same bytes, and OpenAI's evals read it too."""
    return b"".join(canonical({"item": _plain(item)}) + b"\n" for item in items)


def set_hash(items: Iterable[GoldenItem]) -> str:
    """A set's name by its content: `set-` and 16 hex digits of SHA-256."""
    return "set-" + hashlib.sha256(golden_text(items)).hexdigest()[:16]


def measure_name(items: Iterable[GoldenItem], grader: bytes) -> str:
    """A set's name and its grader's by its content: scores by two measures cannot be compared, on one set neither."""
    criterion = canonical(msgspec.json.decode(grader))
    return f"{set_hash(items)}/grader-{hashlib.sha256(criterion).hexdigest()[:8]}"


def read_golden(content: bytes) -> list[GoldenItem]:
    """A set of a file that `record` wrote, or of a training file, whose last answers are the references.

    Raises InvalidRequest (400) with every fault and its line, up to twenty.
    """
    items: dict[str, GoldenItem] = {}
    faults: list[str] = []
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        if not line.strip():
            continue
        item = _read(line)
        if isinstance(item, str):
            faults.append(f"line {number}: {item}")
        elif item.key in items:
            faults.append(f"line {number}: the same item as another line")
        else:
            items[item.key] = item
    if not items and not faults:
        faults.append("there are no items")
    if faults:
        more = f"; and {len(faults) - MOST_FAULTS} more" if len(faults) > MOST_FAULTS else ""
        raise InvalidRequest("; ".join(faults[:MOST_FAULTS]) + more + ".", param="set")
    return [items[key] for key in sorted(items)]


def default_grader(items: Sequence[GoldenItem]) -> dict[str, Any]:
    """How a set is graded without another word: labels must be the same, texts alike."""
    references = {item.reference for item in items}
    are_labels = len(references) <= max(2, LABELS_SHARE * len(items)) and all(
        len(one) <= LABEL_CHARACTERS and "\n" not in one for one in references
    )
    both = {"name": "reference", "input": "{{sample.output_text}}", "reference": "{{item.reference}}"}
    if are_labels:
        return {"type": "string_check", "operation": "eq", **both}
    return {"type": "text_similarity", "evaluation_metric": "fuzzy_match", "pass_threshold": 0.8, **both}


def shared(items: Sequence[GoldenItem], name: str) -> Any:
    """Tools or response_format, where all items have the same one; else None."""
    found = {canonical(getattr(item, name)): getattr(item, name) for item in items}
    return next(iter(found.values())) if len(found) == 1 else None


def _read(line: bytes) -> GoldenItem | str:
    try:
        read = _line.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        return str(fault)
    if read.item is not None:
        return read.item if read.item.messages else "the item has no messages"
    if not read.messages:
        return "neither an `item` nor `messages`"
    *asked, answer = read.messages
    reference = content_text(answer.get("content"))
    if answer.get("role") != "assistant" or not asked or not reference:
        return "the last message is no answer of the assistant in words"
    return _item(asked, reference, "", read.tools, None)


def _item(messages: list[Any], reference: str, cluster: str, tools: list[Any] | None, form: Any) -> GoldenItem:
    key = f"{digest(canonical([messages, tools, form])):016x}"
    first = next((one for one in messages if isinstance(one, dict) and one.get("role") == "user"), messages[0])
    # Without a conversation's name, what begins alike belongs together.
    return GoldenItem(key, messages, reference, cluster or f"{digest(canonical(first)):016x}", tools, form)


def _plain(item: GoldenItem) -> dict[str, Any]:
    return {name: value for name in item.__struct_fields__ if (value := getattr(item, name)) is not None}
