"""Rows to train on and items to measure by, parted by conversations: what is measured must not have been learned."""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from gateway.core.errors import InvalidRequest
from gateway.core.values import Value
from gateway.tuning.captured.examples import Rated
from gateway.tuning.datasets.digests import canonical, group_digest, turns_digest
from gateway.tuning.datasets.mended_rows import written
from gateway.tuning.datasets.redaction import redacted
from gateway.tuning.datasets.rows import read_row
from gateway.tuning.datasets.splitting import Groups, for_validation
from gateway.tuning.golden import GoldenItem, Recording, read_golden

MOST_ITEMS = 200
# Fewer calls make no set; rows are held out then.
LEAST_CALLS = 20
# Of the rows, so many are held out: enough for an interval, and no more than a third.
HELD_OUT, LEAST_HELD, MOST_HELD_SHARE = 0.1, 12, 0.3
# How many of a kind came before it is of no matter: a system prompt may have named some.
_PSEUDONYM = re.compile(rb"<([A-Z_]+)_\d+>")

Mark = tuple[str, object]


class Given(Value, frozen=True):
    """A row that could be trained on. rated: the captured call that it is of."""

    data: dict[str, Any]
    rated: Rated | None = None


class Parted(Value, frozen=True):
    """rows: to train on; items: the set, none of whose conversations is among the rows. came_from: whence it is."""

    rows: tuple[dict[str, Any], ...]
    items: tuple[GoldenItem, ...]
    came_from: str


def parted(rows: Sequence[Given], given: bytes | None, calls: Sequence[Rated], least: int) -> Parted:
    """Parts what belongs to the set from the rows; without one of its own, of calls or else of rows held out.

    given: a set. calls: those that may be the set. least: rows that the trainer takes. Raises InvalidRequest (400).
    """
    if given is not None:
        items = read_golden(given)
        kept = _without(rows, items)
        if not kept:
            raise InvalidRequest("Every row is in the set that would be measured by; name another one.", param="set")
        return Parted(kept, tuple(items), "the set that was given")
    items = _recorded(calls)
    if len(items) >= LEAST_CALLS:
        kept = _without(rows, items)
        # Where the rows are these very calls, too few are left, and some are held out like any others.
        if len(kept) >= least:
            return Parted(kept, tuple(items), "captured calls")
    return _held_out(rows, least)


def marks(messages: Iterable[Any], conversation: str = "") -> set[Mark]:
    """What two prompts of one conversation share: its name, what a user says first, or all of it; once redacted."""
    plain = redacted({"messages": list(messages)})
    row = read_row(1, "", json.loads(_PSEUDONYM.sub(rb"<\1>", canonical(plain))))
    found: set[Mark] = {("first turn", group_digest(row)), ("prompt", turns_digest(row.turns))}
    return found | {("conversation", conversation)} if conversation else found


def _marks_of(given: Given) -> set[Mark]:
    prompt = read_row(1, "", given.data).prompt
    conversation = "" if given.rated is None else given.rated[0].conversation
    return marks((turn.message for turn in prompt), conversation)


def _without(rows: Sequence[Given], items: Sequence[GoldenItem]) -> tuple[dict[str, Any], ...]:
    """The rows without those of conversations that a model would be measured by: it would know the answers."""
    measured = set().union(*(marks(item.messages, item.cluster) for item in items))
    return tuple(row.data for row in rows if measured.isdisjoint(_marks_of(row)))


def _held_out(rows: Sequence[Given], least: int) -> Parted:
    """Rows to train on, and items of the others; what belongs together stays on one side, the same one each time."""
    if "preferred_output" in rows[0].data:
        raise InvalidRequest("There is nothing to measure by; name a frozen set: --set FILE.", param="set")
    few = f"Of {len(rows)} rows none can be held out to measure by: the trainer takes {least} or more that belong"
    too_few = InvalidRequest(f"{few} to other conversations. Name what to measure by: --set FILE.", param="set")
    if len(rows) <= least:
        raise too_few
    share = min(MOST_HELD_SHARE, max(HELD_OUT, LEAST_HELD / len(rows)), 1 - least / len(rows))
    try:
        sides = for_validation(_groups(rows), share, 0)
    except InvalidRequest as fault:
        raise InvalidRequest(f"{fault.message} Name what to measure by: --set FILE.", param="set") from None
    kept = tuple(row.data for row, is_held in zip(rows, sides, strict=True) if not is_held)
    if len(kept) < least:
        raise too_few
    held = [row for row, is_held in zip(rows, sides, strict=True) if is_held]
    items = {one.key: one for one in _recorded([row.rated for row in held if row.rated is not None])}
    for row in held:
        if row.rated is None:
            items |= {one.key: one for one in _readable(written(row.data))}
    if not items:
        raise InvalidRequest("There is nothing to measure by; name a frozen set: --set FILE.", param="set")
    return Parted(kept, tuple(items[key] for key in sorted(items)[:MOST_ITEMS]), "rows held out")


def _groups(rows: Sequence[Given]) -> list[int]:
    """The group of each row: those of a dataset's split, joined where rows share a mark."""
    groups = Groups({})
    for number, row in enumerate(rows, 1):
        groups.add(read_row(number, "", row.data), _marks_of(row))
    return groups.found()


def _recorded(calls: Sequence[Rated]) -> list[GoldenItem]:
    recording = Recording()
    for one in calls:
        recording.add(one)
    return recording.items(MOST_ITEMS)


def _readable(line: bytes) -> list[GoldenItem]:
    """The item of a row; none of one whose answer is no text."""
    try:
        return read_golden(line)
    except InvalidRequest:
        return []
