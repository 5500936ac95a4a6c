"""What the journal holds: framed, checksummed records."""

import struct
import zlib
from collections.abc import Iterator

import msgspec

from gateway.core.decision import Names, Trace
from gateway.core.event import UsageEvent

# Length and CRC-32 of the payload, little-endian.
HEAD = struct.Struct("<II")
# A length past this is not a record but garbage.
MAX_RECORD = 4 * 1024 * 1024


NO_NAMES = Names("", "", "", "", False, None, (), ())


class DecisionRecord(msgspec.Struct, frozen=True, gc=False):
    """A decision and the facts it stood on, as it will be asked for months later."""

    id: str
    call_id: str
    at: float
    team: str
    key_id: str
    key_name: str
    endpoint: str
    asked_model: str
    rule: str
    path: str
    upstream: str
    model: str
    line: str | None
    policy_hash: str
    trace: Trace
    draw: float
    budget_used: float | None
    signals: tuple[tuple[str, float], ...]
    refusal: str | None = None
    successor_of: str | None = None
    # A field that is added later has a default: journals of the version before must stay readable.
    names: Names = NO_NAMES


class Intent(msgspec.Struct, frozen=True, gc=False, tag="i"):
    """Money is about to be spent: written before the first byte goes upstream.

    event: the row that an orphan becomes; its outcome is `interrupted`, its usage an estimate.
    """

    event: UsageEvent
    decision: DecisionRecord | None = None


class Progress(msgspec.Struct, frozen=True, gc=False, tag="p"):
    """How many bytes of a reply have passed, for an estimate should the end never be written."""

    event_id: str
    passed_bytes: int


class Final(msgspec.Struct, frozen=True, gc=False, tag="f"):
    """An attempt is over: written before the caller's last byte."""

    event: UsageEvent
    decision: DecisionRecord | None = None


class Void(msgspec.Struct, frozen=True, gc=False, tag="v"):
    """An intent that came to nothing: not one byte of it was sent."""

    event_id: str


class Unreadable(msgspec.Struct, frozen=True, gc=False, tag="u"):
    """A record that is whole but not of a kind this version knows: another version wrote it."""


Record = Intent | Progress | Final | Void | Unreadable

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)


def frame(record: Record) -> bytes:
    """The record as it stands in the file."""
    payload = _encoder.encode(record)
    return HEAD.pack(len(payload), zlib.crc32(payload)) + payload


def read_frames(data: bytes, offset: int = 0) -> Iterator[tuple[Record, int]]:
    """Records from `offset` on, each with the offset after it; ends at the first torn or damaged one.

    A whole record that cannot be understood comes as Unreadable: whoever reads must not delete its file.

    A full disk tears a write in two and a crash may leave half a record: that tail was never promised.
    """
    while offset + HEAD.size <= len(data):
        length, checksum = HEAD.unpack_from(data, offset)
        end = offset + HEAD.size + length
        if length > MAX_RECORD or end > len(data):
            return
        payload = data[offset + HEAD.size : end]
        if zlib.crc32(payload) != checksum:
            return
        try:
            record: Record = _decoder.decode(payload)
        except msgspec.DecodeError:
            record = Unreadable()
        offset = end
        yield record, offset
