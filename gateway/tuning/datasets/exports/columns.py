"""Tables of questions and answers: CSV with a header, or JSONL with a field for each; and pairs from feedback."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from gateway.core.errors import BadConfiguration
from gateway.core.values import Value
from gateway.tuning.datasets.exchanges import Exchange, Said, conversation
from gateway.tuning.datasets.exports.export_text import compact, name, objects

# Names that columns often have, where none is given.
QUESTIONS = ("question", "prompt", "customer_message", "user", "input", "body", "description", "problem", "text")
ANSWERS = ("answer", "response", "agent_reply", "reply", "assistant", "output", "completion", "resolution")
RESOLVED = frozenset({"solved", "closed", "resolved", "done", "true", "yes", "1"})
# A cell may hold a whole conversation.
MOST_CELL = 16 * 2**20


class Columns(Value, frozen=True):
    """Which column or field holds what; "" is looked for by common names (question, answer) or not used."""

    question: str = ""
    answer: str = ""
    id: str = ""
    group: str = ""
    created_at: str = ""
    status: str = ""
    rejected: str = ""


def read_csv(path: Path, columns: Columns) -> Iterator[Exchange]:
    """An exchange a record. Raises BadConfiguration for a file that is no CSV in UTF-8, or has no such columns."""
    csv.field_size_limit(MOST_CELL)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            dialect = _dialect(file.readline())
            file.seek(0)
            reader = csv.DictReader(file, delimiter=dialect, strict=True)
            found = _named(path, columns, list(reader.fieldnames or ()))
            for number, record in enumerate(reader, 1):
                yield _exchange({key: value for key, value in record.items() if key}, found, f"{number}")
    except OSError as fault:
        raise BadConfiguration([f"{path}: cannot be read ({fault.strerror})."]) from None
    except UnicodeDecodeError as fault:
        raise BadConfiguration([f"{path}: byte 0x{fault.object[fault.start]:02x} is not UTF-8."]) from None
    except csv.Error as fault:
        raise BadConfiguration([f"{path}:{reader.line_num}:1: no CSV: {fault}."]) from None


def read_fields(path: Path, columns: Columns) -> Iterator[Exchange]:
    """An exchange a JSON object: of its fields, or of its `messages` where it has a conversation."""
    found: Columns | None = None
    for number, entry in objects(path):
        said = _conversation(entry)
        if said is not None:
            messages, answer = conversation(said)
            yield _with_names(entry, columns, str(number), Exchange("", "", messages, answer))
            continue
        found = found or _named(path, columns, list(entry))
        yield _exchange(entry, found, str(number))


def read_pairs(path: Path, columns: Columns) -> Iterator[Exchange]:
    """Feedback: a `prompt`, the answer that was `chosen`, and the one that was `rejected`."""
    asked, liked, other = columns.question or "prompt", columns.answer or "chosen", columns.rejected or "rejected"
    faults = []
    for number, entry in objects(path):
        texts = [_text(entry, key) for key in (asked, liked, other)]
        missing = [key for key, text in zip((asked, liked, other), texts, strict=True) if not text]
        if missing:
            faults.append(f"{path}:{number}:1: {', '.join(map(repr, missing))} is missing or empty.")
            continue
        pair = Exchange("", "", (Said("user", texts[0]),), texts[1], rejected=texts[2])
        yield _with_names(entry, columns, str(number), pair)
    if faults:
        raise BadConfiguration(faults[:50])


def _dialect(header: str) -> str:
    return max(",;\t|", key=header.count)


def _named(path: Path, columns: Columns, have: list[str]) -> Columns:
    """The columns with question and answer found. Raises BadConfiguration naming every one that is not there."""
    question = columns.question or next((key for key in QUESTIONS if key in have), "")
    answer = columns.answer or next((key for key in ANSWERS if key in have), "")
    wanted = {
        "question": question,
        "answer": answer,
        "id": columns.id,
        "group": columns.group,
        "created": columns.created_at,
        "status": columns.status,
    }
    there = ", ".join(map(repr, have)) or "none"
    faults = [
        f"{path}:1:1: no column {column!r}; there are {there}."
        if column
        else f"{path}:1:1: no column for the {what} is known among {there}; name it with --{what}."
        for what, column in wanted.items()
        if (column and column not in have) or (not column and what in {"question", "answer"})
    ]
    if faults:
        raise BadConfiguration(faults)
    return Columns(question, answer, columns.id, columns.group, columns.created_at, columns.status)


def _exchange(entry: Mapping[str, object], columns: Columns, number: str) -> Exchange:
    question = Said("user", _text(entry, columns.question))
    return _with_names(entry, columns, number, Exchange("", "", (question,), _text(entry, columns.answer)))


def _with_names(entry: Mapping[str, object], columns: Columns, number: str, made: Exchange) -> Exchange:
    identity = name(entry.get(columns.id)) if columns.id else number
    group = name(entry.get(columns.group)) if columns.group else ""
    status = entry.get(columns.status) if columns.status else None
    resolved = None if status is None else compact(status).strip().lower() in RESOLVED
    created = name(entry.get(columns.created_at)) if columns.created_at else ""
    # Without a column for it, what belongs together is told by the first words when the file is parted.
    return Exchange(identity, group, made.messages, made.answer, created, resolved, made.rejected)


def _text(entry: Mapping[str, object], key: str) -> str:
    # As it is: a tag in an answer may be what is to be learned.
    value = entry.get(key)
    return value.strip() if isinstance(value, str) else ""


def _conversation(entry: Mapping[str, object]) -> list[Said] | None:
    messages = entry.get("messages")
    if not isinstance(messages, list):
        return None
    said = []
    for message in messages:
        role = message.get("role") if isinstance(message, dict) else None
        if role in {"user", "assistant"}:
            said.append(Said("user" if role == "user" else "assistant", _text(message, "content")))
    return said
