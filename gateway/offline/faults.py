"""Faults on demand: by request header, or laid ready for requests that are still to come."""

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from gateway.core.values import Value

HEADER_PREFIX = "x-offline-"
Milliseconds = Annotated[int, Meta(ge=0, le=600_000)]


class Fault(Value, frozen=True, forbid_unknown_fields=True):
    """What goes wrong in one request; nothing by default.

    status: reply with it, and OpenAI's error body. delay_ms: wait before the head. chunk_delay_ms: between
    the events of a stream. truncate_after: that many events, then the connection closes without an end (a
    whole reply is cut in half). no_usage: leave usage out. hang: say nothing until the caller leaves; with
    truncate_after, only from there on. drop: close before the head.
    """

    status: Annotated[int, Meta(ge=400, le=599)] | None = None
    delay_ms: Milliseconds = 0
    chunk_delay_ms: Milliseconds = 0
    truncate_after: Annotated[int, Meta(ge=0)] | None = None
    no_usage: bool = False
    hang: bool = False
    drop: bool = False


NO_FAULT = Fault()


class Laid(Value, frozen=True, forbid_unknown_fields=True):
    """A fault laid ready for requests of this model and path (None: any), `times` times (None: always)."""

    fault: Fault
    model: str | None = None
    path: str | None = None
    times: Annotated[int, Meta(ge=1)] | None = None


class FaultBook:
    """The faults laid ready, in the order in which they were laid."""

    def __init__(self) -> None:
        self._laid: list[Laid] = []

    def lay(self, laid: Laid) -> None:
        """Adds a fault behind those already there."""
        self._laid.append(laid)

    def take(self, model: str, path: str) -> Fault:
        """The first fault that fits, used up by one; NO_FAULT when none does."""
        for index, laid in enumerate(self._laid):
            if laid.model not in (None, model) or laid.path not in (None, path):
                continue
            if laid.times == 1:
                del self._laid[index]
            elif laid.times is not None:
                self._laid[index] = msgspec.structs.replace(laid, times=laid.times - 1)
            return laid.fault
        return NO_FAULT

    def reset(self) -> None:
        """Forgets all."""
        self._laid.clear()

    def listed(self) -> list[Laid]:
        """What is still laid ready."""
        return list(self._laid)


def fault_from_headers(headers: Mapping[str, str]) -> Fault:
    """The fault that `x-offline-*` headers ask for: `x-offline-delay-ms: 20` is `delay_ms=20`.

    Raises msgspec.ValidationError for a name or a value that no fault has.
    """
    given = {
        name.removeprefix(HEADER_PREFIX).replace("-", "_"): value
        for name, value in headers.items()
        if name.startswith(HEADER_PREFIX)
    }
    return msgspec.convert(given, Fault, strict=False) if given else NO_FAULT
