"""A stream as it passes: its usage is read, and what we caused is taken out again.

Most reads carry nothing of interest and cost one search of their bytes.
"""

import re
from collections.abc import Iterator

import msgspec

from gateway.core.errors import InvalidRequest
from gateway.core.usage import Usage
from gateway.wire.json_object import read_object, write_object
from gateway.wire.usage import UNREADABLE, tier_of_event, usage_of_event

USAGE = b'"usage"'
TIER = b'"service_tier"'
# A provider that names a stream's tier does so from the first event on.
FIRST_READS = 4
# An event longer than this is passed on without being understood: its usage is then estimated.
MAX_EVENT = 16 * 1024 * 1024
# How much of a stream is kept, to estimate from when no usage comes.
KEPT = 512 * 1024
# A usage that is not null; most of a stream's are.
_GIVEN = re.compile(rb'"usage"\s*:(?!\s*null)')
CLOSING_NULL = b',"usage":null}\n\n'


class EventCutter:
    """Cuts a stream into whole events, however its bytes arrive."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, chunk: bytes) -> bytes:
        """The bytes up to the end of the last whole event so far; the rest is held."""
        if not self._held:
            # One event or several, whole: what nearly every read is.
            if chunk.endswith(b"\n\n"):
                return chunk
            cut = _last_end(chunk, 0)
            if cut == len(chunk):
                return chunk
            self._held += chunk[cut:]
            return chunk[:cut]
        start = max(0, len(self._held) - 3)
        self._held += chunk
        cut = _last_end(self._held, start)
        if not cut and len(self._held) > MAX_EVENT:
            cut = len(self._held)
        whole = bytes(self._held[:cut])
        del self._held[:cut]
        return whole

    def rest(self) -> bytes:
        """What was held when the stream ended: an event without its blank line."""
        held = bytes(self._held)
        self._held.clear()
        return held


def _last_end(data: bytes | bytearray, start: int) -> int:
    """Just past the last blank line at or after `start`; 0 when there is none."""
    plain = data.rfind(b"\n\n", start)
    windows = data.rfind(b"\r\n\r\n", start)
    if windows > plain:
        return windows + 4
    return plain + 2 if plain >= 0 else 0


def events(block: bytes) -> Iterator[bytes]:
    """Whole events of a block, each with its blank line."""
    separator = b"\r\n\r\n" if b"\r\n\r\n" in block else b"\n\n"
    start = 0
    while start < len(block):
        end = block.find(separator, start)
        end = len(block) if end < 0 else end + len(separator)
        yield block[start:end]
        start = end


def payload(event: bytes) -> bytes:
    """The data of one event: its `data:` lines joined, without their names."""
    lines = [line[5:].strip() for line in event.splitlines() if line.startswith(b"data:")]
    return lines[0] if len(lines) == 1 else b"\n".join(lines)


class UsageTap:
    """Reads the usage out of a stream whose bytes pass unchanged."""

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.kept: list[bytes] = []
        self.kept_bytes = 0
        self.passed_bytes = 0
        self._cutter = EventCutter()

    def feed(self, chunk: bytes) -> bytes:
        """What goes to the caller for this read: the read itself."""
        self._keep(chunk)
        block = self._cutter.feed(chunk)
        if USAGE in block:
            self._scan(block)
        return chunk

    def finish(self) -> bytes:
        """What still goes out at the end."""
        self._scan(self._cutter.rest())
        return b""

    def _keep(self, chunk: bytes) -> None:
        self.passed_bytes += len(chunk)
        if self.kept_bytes < KEPT:
            self.kept.append(chunk)
            self.kept_bytes += len(chunk)

    def _scan(self, block: bytes) -> None:
        for match in _GIVEN.finditer(block):
            start = block.rfind(b"\n", 0, match.start()) + 1
            end = block.find(b"\n", match.start())
            line = block[start : len(block) if end < 0 else end]
            if line.startswith(b"data:"):
                self._take(line[5:].strip())

    def tier(self) -> str:
        """The service tier that the stream's beginning names; '' for the standard one."""
        for event in events(b"".join(self.kept[:FIRST_READS])):
            if TIER in event:
                return tier_of_event(payload(event))
        return ""

    def since_usage(self) -> bytes:
        """What is kept of the stream after the last event that brought a usage; it may not be in that usage."""
        whole = b"".join(self.kept)
        found = [match.end() for match in _GIVEN.finditer(whole)]
        end = whole.find(b"\n", found[-1]) if found else 0
        return b"" if end < 0 else whole[end:]

    def _take(self, data: bytes) -> None:
        """The usage in an event's data, if it is one: of several the last is the whole stream's."""
        found = usage_of_event(data)
        if found is None:
            return
        if TIER not in data and (tier := self.tier()):
            found = msgspec.structs.replace(found, service_tier=tier)
        self.usage = found


class UsageStrip(UsageTap):
    """The same for a stream in which the usage is our doing: its traces are taken out.

    The usage-only event is dropped, and `"usage": null` is cut from the others, so that the caller's
    bytes are what they would have been. Only an unfinished event is held back.
    """

    def feed(self, chunk: bytes) -> bytes:
        """What goes to the caller now: whole events, without usage."""
        self._keep(chunk)
        return self._strip(self._cutter.feed(chunk))

    def finish(self) -> bytes:
        """What was held, for a stream that ended inside an event."""
        return self._strip(self._cutter.rest())

    def _strip(self, block: bytes) -> bytes:
        if USAGE not in block:
            return block
        # A closing brace before a blank line closes the event's own object, so this null is its own.
        block = block.replace(CLOSING_NULL, b"}\n\n")
        at = block.find(USAGE)
        if at < 0:
            return block
        separator = b"\r\n\r\n" if block.endswith(b"\r\n\r\n") else b"\n\n"
        out = []
        start = 0
        while at >= 0:
            begin = block.rfind(separator, start, at)
            begin = start if begin < 0 else begin + len(separator)
            end = block.find(separator, at)
            end = len(block) if end < 0 else end + len(separator)
            out += [block[start:begin], self._without_usage(block[begin:end])]
            start, at = end, block.find(USAGE, end)
        return b"".join([*out, block[start:]])

    def _without_usage(self, event: bytes) -> bytes:
        data = payload(event)
        fields = _fields(data)
        raw = fields.pop("usage", None)
        if raw is None:
            return event
        found = bytes(raw)
        if found != b"null":
            self._take(data)
            if bytes(fields.get("choices", b"")).replace(b" ", b"") == b"[]":
                return b""
        plain, spaced = b'"usage":' + found, b'"usage": ' + found
        for shape in (b"," + plain, b", " + spaced, plain + b",", spaced + b", "):
            cut = event.replace(shape, b"", 1)
            # An object further in may have a usage of its own, and that stays.
            if len(cut) < len(event) and _fields(payload(cut)) == fields:
                return cut
        return event.replace(data, write_object(fields))


def _fields(data: bytes) -> dict[str, bytes | msgspec.Raw]:
    try:
        return dict(read_object(data))
    except (InvalidRequest, *UNREADABLE):
        return {}
