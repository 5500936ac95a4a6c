"""The beginning of a reply, read before the caller sees any of it: until then another upstream can still answer."""

import asyncio
import re
from typing import Literal

from gateway.upstream.faults import FirstTokenTimedOut, TransportError
from gateway.upstream.port import Reply
from gateway.upstream.prepared import Prepared
from gateway.upstream.upstreams import Upstream
from gateway.wire.sse import MAX_EVENT, payload

# A larger body goes through as it comes; its usage is then not looked for.
WHOLE_BYTES = 64 * 1024 * 1024
_DATA = re.compile(rb"(?:^|[\r\n]|\xef\xbb\xbf)data:")
_BLANK = re.compile(rb"\n\r?\n|\r\r")
# More than either of them, less one byte: what may stand at the end of one read and go on in the next.
_OVERLAP = 8


class ReadAhead:
    """A reply with its beginning at hand; `read` gives that again, at once, and then the rest.

    form: `events` for a stream of events, `whole` for JSON and everything that is no success, `parts` for the rest.
    ahead: what was read. whole: that is all of the body. first: the data of the first event of a stream.
    failure: why the beginning did not come; `read` raises it, after what did come if that is of use to anybody.
    """

    __slots__ = (
        "_given",
        "_is_late",
        "_reply",
        "ahead",
        "failure",
        "first",
        "form",
        "headers",
        "sent_at",
        "status",
        "whole",
    )

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self.status = reply.status
        self.headers = reply.headers
        self.sent_at = reply.sent_at
        self.ahead = b""
        self.whole = False
        self.first = b""
        self.failure: TransportError | None = None
        self._given = False
        self._is_late = False
        kind = length = b""
        for name, value in reply.headers:
            if name == b"content-type":
                kind = value
            elif name == b"content-length":
                length = value
        self.form: Literal["events", "whole", "parts"] = "parts"
        if b"text/event-stream" in kind and reply.status < 300:
            self.form = "events"
        elif b"json" in kind or reply.status >= 300 or length == b"0":
            self.form = "whole"

    async def read(self) -> bytes:
        """What `port.Reply.read` gives."""
        if not self._given:
            self._given = True
            ahead = self.ahead
            # Of a stream nobody wants half an event; half a body tells what may be billed.
            if ahead and (self.failure is None or self.form == "whole"):
                return ahead
        if self.failure is not None:
            raise type(self.failure)(str(self.failure), sent=self.failure.sent)
        return b"" if self.whole else await self._reply.read()

    def abort(self) -> None:
        """What `port.Reply.abort` does."""
        self._reply.abort()

    async def begin(self, seconds: float) -> None:
        """Reads the beginning, until `seconds` after the request was sent; a fault stands in `failure` then.

        The beginning is the first whole event with data of a stream (comments keep a connection alive and say
        nothing), the whole of a body up to WHOLE_BYTES, or the first bytes of what is neither.
        """
        timer = asyncio.get_running_loop().call_at(self.sent_at + seconds, self._expire)
        try:
            if self.form == "events":
                await self._read_event()
            else:
                await self._read_body()
        except TransportError as fault:
            late = f"Its head came, and no first token within {seconds:g} s."
            # Without its traceback: kept, that would hold the frames that it passed through, and they hold us.
            self.failure = FirstTokenTimedOut(late) if self._is_late else fault.with_traceback(None)
        finally:
            timer.cancel()

    def _expire(self) -> None:
        self._is_late = True
        self._reply.abort()

    async def _read_body(self) -> None:
        parts: list[bytes] = []
        size = 0
        try:
            while size <= WHOLE_BYTES and (self.form == "whole" or not parts):
                chunk = await self._reply.read()
                if not chunk:
                    self.whole = True
                    break
                parts.append(chunk)
                size += len(chunk)
        finally:
            self.ahead = parts[0] if len(parts) == 1 else b"".join(parts)

    async def _read_event(self) -> None:
        held = bytearray()
        looked = 0
        data: re.Match[bytes] | None = None
        try:
            while len(held) <= MAX_EVENT:
                chunk = await self._reply.read()
                if not chunk:
                    self.whole = True
                    return
                held += chunk
                if data is None:
                    data = _DATA.search(held, looked)
                    looked = data.end() if data is not None else max(0, len(held) - _OVERLAP)
                if data is not None:
                    blank = _BLANK.search(held, looked)
                    looked = max(looked, len(held) - _OVERLAP)
                    if blank is not None:
                        self.first = payload(bytes(held[: blank.end()]))
                        return
        finally:
            self.ahead = bytes(held)


class Sent:
    """A reply whose beginning was read, and what was sent for it. reply: None when the answer was made here."""

    __slots__ = ("prepared", "reply", "upstream")

    def __init__(self, prepared: Prepared, reply: ReadAhead | None, upstream: Upstream | None) -> None:
        self.prepared = prepared
        self.reply = reply
        self.upstream = upstream
