"""What a dead process left behind: its journals, and intents that never found their end."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from gateway.core.clock import utc_day
from gateway.core.event import UsageEvent
from gateway.core.usage import Usage
from gateway.ledger.entry import STREAM_BYTES_PER_TOKEN
from gateway.ledger.records import DecisionRecord, Final, Grounded, Intent, Progress, Unreadable, Void, read_frames
from gateway.pricing.rates import priced, with_retrieval
from gateway.pricing.table import PriceTable


class Leftover(msgspec.Struct):
    """One dead process's journals, read whole.

    lock: held while they are dealt with. ended: attempts that have an end, or get one here.
    """

    process: str
    lock: int
    lock_path: Path
    segments: list[Path]
    finals: list[UsageEvent]
    decisions: list[DecisionRecord]
    orphans: list[UsageEvent]
    ended: list[str]
    grounded: list[Grounded]
    unreadable: int = 0

    def remove(self) -> None:
        """Deletes the files: everything in them is in the database.

        Those with records that this version cannot read are kept as `*.unreadable`, for the version that can.
        """
        for segment in self.segments:
            if self.unreadable:
                segment.rename(segment.with_suffix(".unreadable"))
            else:
                segment.unlink(missing_ok=True)
        self.lock_path.unlink(missing_ok=True)
        os.close(self.lock)

    def keep(self) -> None:
        """Lets go of the files: somebody shall try again."""
        os.close(self.lock)


def leftovers(folder: Path, own_process: str, prices: PriceTable) -> Iterator[Leftover]:
    """The journals of processes that no longer live; each is locked against other finders until dealt with."""
    for lock_path in sorted(folder.glob("*.lock")):
        process = lock_path.name.removesuffix(".lock")
        if process == own_process:
            continue
        lock = take_lock(lock_path)
        if lock is not None:
            yield _read(process, lock, lock_path, sorted(folder.glob(f"{process}-*.journal")), prices)


def take_lock(lock_path: Path) -> int | None:
    """The lock of a dead process's files, as a descriptor; None when it lives, or another finder has them."""
    try:
        lock = os.open(lock_path, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    if not lock_path.exists():
        # Another process dealt with it between our opening and our locking.
        os.close(lock)
        return None
    return lock


def _read(process: str, lock: int, lock_path: Path, segments: list[Path], prices: PriceTable) -> Leftover:
    finals: list[UsageEvent] = []
    decisions: list[DecisionRecord] = []
    grounded: list[Grounded] = []
    intents: dict[str, Intent] = {}
    passed: dict[str, int] = {}
    ended: list[str] = []
    unreadable = 0
    for segment in segments:
        with contextlib.suppress(FileNotFoundError):
            for record, _ in read_frames(segment.read_bytes()):
                match record:
                    case Intent(event, decision):
                        intents[event.id] = record
                        if decision is not None:
                            decisions.append(decision)
                    case Progress(event_id, passed_bytes):
                        passed[event_id] = passed_bytes
                    case Final(event, decision):
                        intents.pop(event.id, None)
                        ended.append(event.id)
                        finals.append(event)
                        grounded += [record.grounded] if record.grounded is not None else []
                        if decision is not None:
                            decisions.append(decision)
                    case Void(event_id):
                        intents.pop(event_id, None)
                        ended.append(event_id)
                    case Unreadable():
                        unreadable += 1
    orphans = [resolved(intent.event, passed.get(name, 0), prices) for name, intent in intents.items()]
    grounded += [Grounded(one.event, one.grounds) for one in intents.values() if one.grounds is not None]
    ended += [event.id for event in orphans]
    return Leftover(process, lock, lock_path, segments, finals, decisions, orphans, ended, grounded, unreadable)


def resolved(event: UsageEvent, passed_bytes: int, prices: PriceTable) -> UsageEvent:
    """The row of an attempt whose end was never written: flagged as interrupted, its tokens as estimated."""
    tokens_in = event.usage.input_tokens if event.usage is not None else 0
    usage = Usage(tokens_in, passed_bytes // STREAM_BYTES_PER_TOKEN, source="estimated")
    rates = prices.rates(event.model, utc_day(event.at))
    kinds, cost, status = priced(rates, usage)
    kinds, context = with_retrieval(kinds, event.context_tokens, usage)
    return msgspec.structs.replace(
        event,
        outcome="interrupted",
        error="interrupted",
        usage=usage,
        context_tokens=context,
        cost_by_kind=kinds,
        cost_nano_usd=cost,
        cost_status=status,
    )
