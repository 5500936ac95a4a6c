import struct
import zlib

import msgspec
import pytest

from gateway.ledger.records import HEAD, MAX_RECORD, Final, Unreadable, frame, read_frames
from tests.fakes.calls import closed

ONE = frame(Final(closed(1)))


def ids(data: bytes) -> list[str]:
    return [record.event.id for record, _ in read_frames(data) if isinstance(record, Final)]


def test_each_record_says_where_the_next_begins() -> None:
    two = frame(Final(closed(2)))
    assert [after for _, after in read_frames(ONE + two)] == [len(ONE), len(ONE + two)]
    assert list(read_frames(ONE + two, len(ONE))) == [(Final(closed(2)), len(ONE + two))]


@pytest.mark.parametrize(
    "tail",
    [
        b"\0",
        b"\0" * 64,
        b"\xff" * 64,
        struct.pack("<II", MAX_RECORD + 1, 0),
        HEAD.pack(0, 0),
        HEAD.pack(4, 0) + b"junk",
        ONE[:-1] + bytes([ONE[-1] ^ 1]),
    ],
)
def test_reading_ends_at_the_first_damage(tail: bytes) -> None:
    assert ids(ONE + tail) == ["call_1.1"]


def test_a_whole_record_of_an_unknown_kind_is_told_and_hides_nothing_behind_it() -> None:
    """Another version wrote it: what can be read is booked, and the file is kept for who can read the rest."""
    payload = msgspec.msgpack.encode({"type": "z"})
    data = HEAD.pack(len(payload), zlib.crc32(payload)) + payload + ONE
    assert [type(record) for record, _ in read_frames(data)] == [Unreadable, Final]
    assert len(ids(data)) == 1
