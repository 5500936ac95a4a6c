import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.core.errors import AccountingUnavailable
from gateway.ledger.journal import Journal
from gateway.ledger.records import Final, Intent, Progress, Record, Void, frame, read_frames
from tests.fakes.calls import closed


@contextmanager
def journal(folder: Path, segment_bytes: int = 1 << 24) -> Iterator[Journal]:
    made = Journal(folder, segment_bytes)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def file_limit(size: int) -> Iterator[None]:
    """A disk that fills up at `size` bytes of a file: the kernel takes the first part of a write, then refuses."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, old)


def held(made: Journal) -> list[Record]:
    found: list[Record] = []
    for path in sorted(made.folder.glob("*.journal")):
        found += [record for record, _ in read_frames(path.read_bytes())]
    return found


def test_records_come_back_as_they_were_written(tmp_path: Path) -> None:
    written: list[Record] = [
        Intent(closed(1)),
        Progress("call_1.1", 2_000),
        Final(closed(1)),
        Intent(closed(2)),
        Void("call_2.1"),
    ]
    with journal(tmp_path) as made:
        for record in written:
            if isinstance(record, Final):
                made.finish(record)
            elif isinstance(record, Progress):
                made.note(record)
            elif isinstance(record, Intent | Void):
                made.append(record)
        assert held(made) == written
        assert made.finished == 1
        assert made.all_settled


def test_a_record_is_in_the_file_when_append_returns(tmp_path: Path) -> None:
    """A kill after this line must find it: no buffer of ours stands between."""
    with journal(tmp_path) as made:
        made.append(Intent(closed()))
        assert made.path(0).read_bytes() == frame(Intent(closed()))


@pytest.mark.parametrize("room", [1, 7, 8, 9, 100, 200])
def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path, room: int) -> None:
    """The kernel writes what fits and refuses the rest; half a record would hide all that follow."""
    with journal(tmp_path) as made:
        made.append(Intent(closed(1)))
        before = made.path(0).read_bytes()
        with file_limit(len(before) + room), pytest.raises(AccountingUnavailable):
            made.append(Intent(closed(2)))
        assert made.path(0).read_bytes() == before
        made.append(Intent(closed(3)))
        assert [record.event.id for record in held(made) if isinstance(record, Intent)] == ["call_1.1", "call_3.1"]


def test_an_end_that_cannot_be_written_is_kept_and_written_later(tmp_path: Path) -> None:
    """The call was made and must be booked."""
    with journal(tmp_path) as made:
        made.append(Intent(closed(1)))
        with file_limit(made.offset + 5):
            made.finish(Final(closed(1)))
            assert made.pending == 1
            assert not made.heal()
            with pytest.raises(AccountingUnavailable):
                made.append(Intent(closed(2)))
        assert not made.all_settled
        assert made.heal()
        assert made.pending == 0
        assert held(made) == [Intent(closed(1)), Final(closed(1))]


def test_a_note_that_cannot_be_written_is_let_go(tmp_path: Path) -> None:
    with journal(tmp_path) as made:
        made.append(Intent(closed(1)))
        with file_limit(made.offset):
            made.note(Progress("call_1.1", 1))
        assert held(made) == [Intent(closed(1))]


def test_segments_turn_and_nothing_is_split_between_two(tmp_path: Path) -> None:
    size = len(frame(Final(closed(1))))
    with journal(tmp_path, segment_bytes=size * 2) as made:
        for number in range(5):
            made.finish(Final(closed(number)))
        assert made.number == 2
        assert [len(list(read_frames(made.path(n).read_bytes()))) for n in range(3)] == [2, 2, 1]


def test_a_segment_is_settled_when_each_intent_in_it_has_its_end(tmp_path: Path) -> None:
    """Its file may then go; before, a killed process would lose the trace of money in flight."""
    with journal(tmp_path, segment_bytes=1) as made:
        made.append(Intent(closed(1)))
        made.append(Intent(closed(2)))
        assert not made.settled(0)
        made.finish(Final(closed(1)))
        assert made.settled(0)
        assert not made.settled(1)
        made.append(Void("call_2.1"))
        assert made.settled(1)
        assert not made.settled(made.number), "the one being written is never settled"


def test_an_intent_whose_end_is_not_on_disk_keeps_its_segment(tmp_path: Path) -> None:
    """Else a kill before the disk has room again would leave neither of the two."""
    with journal(tmp_path) as made:
        made.append(Intent(closed(1)))
        with file_limit(made.offset + 5):
            made.finish(Final(closed(1)))
            made.number += 1
            assert not made.settled(0)
            made.number -= 1


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    with journal(tmp_path) as made:
        made.append(Intent(closed()))
        modes = {path.name.partition(".")[2]: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
        assert modes == {"journal": 0o600, "lock": 0o600}


def test_removing_takes_only_its_own_files(tmp_path: Path) -> None:
    with journal(tmp_path) as other, journal(tmp_path) as made:
        other.append(Intent(closed()))
        made.append(Intent(closed()))
        made.remove()
        assert {path.name for path in tmp_path.iterdir()} == {f"{other.process}.lock", other.path(0).name}


def test_what_was_written_is_synced_in_groups(tmp_path: Path) -> None:
    """The thread ends with the journal and takes no descriptor with it."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    with journal(tmp_path) as made:
        for number in range(100):
            made.append(Intent(closed(number)))
    assert len(list(Path("/proc/self/fd").iterdir())) == before
