"""A journal cut anywhere, damaged anywhere, gives back a prefix of what was written; nothing else, and no error."""

import resource
import signal
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import AccountingUnavailable
from gateway.ledger.journal import Journal
from gateway.ledger.records import Final, Intent, Progress, Record, Void, frame, read_frames
from gateway.ledger.recovery import leftovers
from tests.fakes.books import prices
from tests.fakes.calls import closed

WRITTEN: list[Record] = [
    Intent(closed(1)),
    Progress("call_1.1", 300),
    Intent(closed(2)),
    Final(closed(1)),
    Void("call_2.1"),
    Intent(closed(3)),
    Final(closed(3)),
]
FRAMES = [frame(record) for record in WRITTEN]
WHOLE = b"".join(FRAMES)
ENDS = [sum(map(len, FRAMES[: n + 1])) for n in range(len(FRAMES))]


def test_each_cut_gives_the_records_before_it() -> None:
    for cut in range(len(WHOLE) + 1):
        whole = sum(end <= cut for end in ENDS)
        assert [record for record, _ in read_frames(WHOLE[:cut])] == WRITTEN[:whole]


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_each_flipped_byte_gives_the_records_before_it(at: int, bits: int) -> None:
    damaged = bytearray(WHOLE)
    damaged[at] ^= bits
    whole = sum(end <= at for end in ENDS)
    assert [record for record, _ in read_frames(bytes(damaged))] == WRITTEN[:whole]


@given(st.binary(max_size=400))
def test_any_bytes_are_no_error(data: bytes) -> None:
    assert list(read_frames(data)) == []


def test_recovery_books_each_call_once_wherever_the_process_died(tmp_path: Path) -> None:
    """Killed between any two bytes: what was promised is a row, and never two."""
    for cut in range(0, len(WHOLE) + 1, 3):
        (tmp_path / "j_dead.lock").touch()
        (tmp_path / "j_dead-000000.journal").write_bytes(WHOLE[:cut])
        (left,) = leftovers(tmp_path, "j_own", prices())
        ids = [event.id for event in (*left.finals, *left.orphans)]
        assert len(ids) == len(set(ids))
        whole = WRITTEN[: sum(end <= cut for end in ENDS)]
        begun = {record.event.id for record in whole if isinstance(record, Intent)}
        void = {record.event_id for record in whole if isinstance(record, Void)}
        assert set(ids) == begun - void
        left.remove()
    assert list(tmp_path.iterdir()) == []


# What is written (intent, final, note), and how much room the disk has for it.
STEPS = st.lists(st.tuples(st.sampled_from("ifn"), st.integers(0, 700)), min_size=1, max_size=20)


@settings(deadline=None, max_examples=40)
@given(STEPS, st.integers(300, 3_000))
def test_a_disk_that_fills_up_again_and_again_loses_no_end(steps: list[tuple[str, int]], segment: int) -> None:
    """After each step the files hold whole records only, and at the end every call that was admitted."""
    with TemporaryDirectory() as folder:
        journal = Journal(Path(folder), segment)
        admitted, ended = set(), set()
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            for number, (step, room) in enumerate(steps):
                event = closed(number)
                resource.setrlimit(resource.RLIMIT_FSIZE, (journal.offset + room, before[1]))
                try:
                    if step == "i":
                        journal.append(Intent(event))
                        admitted.add(event.id)
                    elif step == "f":
                        journal.finish(Final(event))
                        ended.add(event.id)
                    else:
                        journal.note(Progress(event.id, room))
                except AccountingUnavailable:
                    assert step == "i"
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
                for path in Path(folder).glob("*.journal"):
                    data = path.read_bytes()
                    assert sum(len(frame(record)) for record, _ in read_frames(data)) == len(data)
            assert journal.heal()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, old)
            journal.close()
        held = [record for path in Path(folder).glob("*.journal") for record, _ in read_frames(path.read_bytes())]
        assert {record.event.id for record in held if isinstance(record, Intent)} == admitted
        assert {record.event.id for record in held if isinstance(record, Final)} == ended
