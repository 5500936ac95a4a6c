import zlib
from pathlib import Path

import msgspec

from gateway.core.usage import Usage
from gateway.ledger.entry import STREAM_BYTES_PER_TOKEN
from gateway.ledger.journal import Journal
from gateway.ledger.records import HEAD, Final, Intent, Progress, Record, Void, frame
from gateway.ledger.recovery import Leftover, leftovers
from tests.fakes.books import prices
from tests.fakes.calls import closed

ORPHAN = {"outcome": "interrupted", "usage": Usage(100, 0, source="estimated"), "cost_nano_usd": 100_000}


def die(folder: Path, *segments: list[Record], process: str = "j_dead") -> None:
    """Leaves files as a killed process does: no lock is held on them."""
    folder.mkdir(exist_ok=True)
    (folder / f"{process}.lock").touch()
    for number, records in enumerate(segments):
        (folder / f"{process}-{number:06d}.journal").write_bytes(b"".join(map(frame, records)))


def found(folder: Path) -> list[Leftover]:
    return list(leftovers(folder, "j_own", prices()))


def test_an_intent_without_an_end_becomes_one_interrupted_row(tmp_path: Path) -> None:
    die(tmp_path, [Intent(closed(1, **ORPHAN)), Progress("call_1.1", 10 * STREAM_BYTES_PER_TOKEN)])
    (left,) = found(tmp_path)
    (orphan,) = left.orphans
    assert orphan.usage == Usage(100, 10, source="estimated")
    assert (orphan.outcome, orphan.error, orphan.cost_status) == ("interrupted", "interrupted", "estimated")
    assert orphan.cost_nano_usd == 100 * 1_000 + 10 * 2_000 == sum(nano for _, nano in orphan.cost_by_kind)
    left.keep()


def test_an_intent_that_found_its_end_is_no_orphan(tmp_path: Path) -> None:
    die(
        tmp_path,
        [Intent(closed(1, **ORPHAN)), Intent(closed(2, **ORPHAN)), Intent(closed(3, **ORPHAN))],
        [Final(closed(1)), Void("call_2.1")],
    )
    (left,) = found(tmp_path)
    assert [event.id for event in left.orphans] == ["call_3.1"]
    assert left.finals == [closed(1)]
    left.keep()


def test_a_torn_tail_hides_nothing_before_it_and_no_other_segment(tmp_path: Path) -> None:
    die(tmp_path, [Final(closed(1))], [Final(closed(2))])
    with (tmp_path / "j_dead-000000.journal").open("ab") as file:
        file.write(frame(Final(closed(9)))[:-1])
    (left,) = found(tmp_path)
    assert [event.id for event in left.finals] == ["call_1.1", "call_2.1"]
    left.keep()


def test_a_living_process_is_left_alone(tmp_path: Path) -> None:
    living = Journal(tmp_path)
    living.append(Intent(closed(1, **ORPHAN)))
    assert found(tmp_path) == []
    living.close()
    (left,) = found(tmp_path)
    assert [event.id for event in left.orphans] == ["call_1.1"]
    left.keep()


def test_two_finders_never_deal_with_the_same_journal(tmp_path: Path) -> None:
    die(tmp_path, [Final(closed(1))])
    (left,) = found(tmp_path)
    assert found(tmp_path) == []
    left.keep()
    (again,) = found(tmp_path)
    again.remove()
    assert list(tmp_path.iterdir()) == []
    assert found(tmp_path) == []


def test_an_end_replaces_what_was_guessed(tmp_path: Path) -> None:
    die(tmp_path, [Intent(closed(1, **ORPHAN)), Progress("call_1.1", 9_999), Final(closed(1))])
    (left,) = found(tmp_path)
    assert left.orphans == []
    assert left.finals == [closed(1)]
    left.keep()


def test_a_journal_with_records_of_another_version_is_kept_beside_the_books(tmp_path: Path) -> None:
    """Deleting it would lose money that this version cannot see."""
    payload = msgspec.msgpack.encode({"type": "z"})
    (tmp_path / "j_dead.lock").touch()
    segment = tmp_path / "j_dead-000000.journal"
    segment.write_bytes(HEAD.pack(len(payload), zlib.crc32(payload)) + payload)
    (leftover,) = leftovers(tmp_path, "j_other", prices())
    assert leftover.unreadable == 1
    leftover.remove()
    assert not segment.exists()
    assert segment.with_suffix(".unreadable").exists()
