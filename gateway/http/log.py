"""One line per call: JSON, the same fields whether it was served or refused; never a prompt, never a key."""

import asyncio
import logging
import sys
import time
import traceback
from collections.abc import Callable

import msgspec

FLUSH_SECONDS = 0.1

_encoder = msgspec.json.Encoder()
log = logging.getLogger("gateway.calls")


class Line(msgspec.Struct, gc=False):
    """A call's line. `at` is Unix seconds."""

    at: float
    event: str
    method: str
    path: str
    status: int
    request_id: str
    seconds: float
    level: str = "info"


class JsonLines(logging.Formatter):
    """Log records as JSON lines. Line breaks and escapes in values stay inside their string."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as one line."""
        line: dict[str, object] = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info and record.exc_info[0] is not None:
            line["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        return _encoder.encode(line).decode()


def configure(level: str = "INFO") -> None:
    """Sends everything to standard error as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # httpx2 says every request it makes at INFO, with its address.
    logging.getLogger("httpx2").setLevel(logging.WARNING)


class CallLog:
    """The line of a call. Lines are written in groups: a write per call costs more than its policy."""

    def __init__(self, write: Callable[[bytes], object] | None) -> None:
        self._write = write
        self._lines: list[bytes] = []

    def call(self, method: str, path: str, status: int, request_id: str, seconds: float) -> None:
        """A call has ended."""
        if self._write is None:
            return
        line = Line(
            at=time.time(),
            event="call_served" if status < 400 else "call_refused",
            method=method,
            path=path,
            status=status,
            request_id=request_id,
            seconds=round(seconds, 6),
        )
        self._lines.append(_encoder.encode(line))
        if len(self._lines) == 1:
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Writes what was gathered."""
        if self._lines and self._write is not None:
            lines, self._lines = self._lines, []
            self._write(b"\n".join(lines) + b"\n")

    def fault(self, request_id: str, fault: Exception) -> None:
        """A fault of ours."""
        log.error("call_failed", extra={"fields": {"request_id": request_id}}, exc_info=fault)
