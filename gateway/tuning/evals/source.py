"""The rows of a run's data: read whole before anything is asked, so that a fault in the last one costs nothing."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from gateway.core.errors import InvalidRequest
from gateway.core.json_value import Json
from gateway.tuning.evals.data_source import MOST_ITEMS, Asked, DataSource, FileContent
from gateway.tuning.evals.prompts import ItemReference
from gateway.tuning.evals.values import Row
from gateway.tuning.graders.messages import texts_of
from gateway.tuning.graders.template import (
    Reference,
    Subject,
    UnknownVariable,
    looked_up,
    reference_of,
    references_of,
)
from gateway.tuning.graders.written import AnyGrader, names_of
from gateway.tuning.json_schemas import checked, faults_of

MOST_BYTES = 64 * 1024 * 1024
MOST_ITEM_BYTES = 1024 * 1024
MOST_FAULTS = 20
ROLES = frozenset({"user", "assistant", "system", "developer", "tool"})

_Row = tuple[str, dict[str, Json], dict[str, Json] | None]


def rows_of(source: DataSource, content: bytes | None, schema: Json, criteria: Sequence[AnyGrader]) -> list[Row]:
    """The data's rows. content: of the file, where the source names one. schema: the eval's for items.

    Every row has the shape of the schema and all that prompts and criteria name of it. Raises InvalidRequest (400) with
    every fault and its line, up to twenty.
    """
    is_file = content is not None
    if content is not None and len(content) > MOST_BYTES:
        raise _refused(f"The file has {len(content):,} bytes; a run takes at most {MOST_BYTES:,}", is_file=is_file)
    wanted = _wanted(source, criteria)
    faults: list[str] = []
    rows: list[Row] = []
    for place, found in _lines(source, content):
        told = [found] if isinstance(found, str) else list(_faults(found, source, schema, wanted))
        faults += [f"{place}: {fault}" for fault in told]
        if not isinstance(found, str):
            _, item, sample = found
            rows.append(Row(_text(item), "" if sample is None else _text(sample)))
        if len(faults) > MOST_FAULTS or len(rows) > MOST_ITEMS:
            break
    if len(rows) > MOST_ITEMS:
        raise _refused(f"The data has more than {MOST_ITEMS:,} items", is_file=is_file)
    if not rows and not faults:
        faults = ["there are no rows"]
    if faults:
        more = "; and more" if len(faults) > MOST_FAULTS else ""
        raise _refused("; ".join(faults[:MOST_FAULTS]) + more, is_file=is_file)
    return rows


def _refused(told: str, *, is_file: bool) -> InvalidRequest:
    return InvalidRequest(f"{told}.", param="data_source.source.id" if is_file else "data_source.source.content")


def _text(value: dict[str, Json]) -> str:
    return msgspec.json.encode(value).decode()


def _lines(source: DataSource, content: bytes | None) -> Iterator[tuple[str, _Row | str]]:
    """Each row with its place, or what is wrong with it."""
    if isinstance(source.source, FileContent):
        for number, line in enumerate(source.source.content):
            yield f"content[{number}]", ("", line.item, line.sample)
        return
    for number, written in enumerate((content or b"").split(b"\n"), 1):
        if written.strip():
            yield f"line {number}", _read(written.removeprefix(b"\xef\xbb\xbf") if number == 1 else written)


def _read(written: bytes) -> _Row | str:
    if len(written) > MOST_ITEM_BYTES:
        return f"has {len(written):,} bytes; a row has at most {MOST_ITEM_BYTES:,}"
    if b"\\u0000" in written:
        return "holds a NUL (\\u0000)"
    try:
        # Decoded first: a decoder skips over texts and does not see that they are no UTF-8.
        line = msgspec.json.decode(written.decode("utf-8"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        return f"is no JSON: {fault}"
    if not isinstance(line, dict) or not isinstance(line.get("item"), dict):
        return 'must be an object with an object `item`, {"item": {...}}'
    sample = line.get("sample")
    if sample is not None and not isinstance(sample, dict):
        return "`sample` must be an object"
    return "", line["item"], sample


def _wanted(source: DataSource, criteria: Sequence[AnyGrader]) -> list[Reference]:
    """What prompts and criteria name, each once."""
    names = [name for grader in criteria for name in names_of(grader)]
    if isinstance(source, Asked):
        # What a model will have answered is not known yet.
        names = [name for name in names if name.namespace == "item"]
        messages = source.input_messages
        if isinstance(messages, ItemReference):
            names.append(reference_of(messages.item_reference))
        else:
            names += [name for text in texts_of(messages.template) for name in references_of(text)]
    return list({name.written: name for name in names}.values())


def _of_shape(item: Json, schema: Json) -> list[str]:
    ready = checked(schema) if isinstance(schema, dict) else None
    return [] if ready is None or ready.validator is None else faults_of(ready.validator, item, "item")


def _faults(row: _Row, source: DataSource, schema: Json, wanted: Iterable[Reference]) -> Iterator[str]:
    _, item, sample = row
    yield from _of_shape(item, schema)
    subject = Subject(item, sample)
    for name in wanted:
        try:
            looked_up(name, subject)
        except UnknownVariable as fault:
            yield fault.message.removesuffix(".")
            continue
        if isinstance(source, Asked) and isinstance(source.input_messages, ItemReference):
            yield from _of_messages(name, source.input_messages, subject)


def _of_messages(name: Reference, messages: ItemReference, subject: Subject) -> Iterator[str]:
    if name != reference_of(messages.item_reference):
        return
    found = looked_up(name, subject)
    turns = found if isinstance(found, list) else []
    if not turns or not all(isinstance(turn, dict) and turn.get("role") in ROLES for turn in turns):
        yield f"{name.written} must be a list of messages with their roles"
