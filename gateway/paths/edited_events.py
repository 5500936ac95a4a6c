"""A stream whose events may be changed one by one, however its bytes arrive."""

from typing import Any

import msgspec

from gateway.wire.sse import EventCutter, events, payload
from gateway.wire.usage import UNREADABLE

_object = msgspec.json.Decoder(dict[str, Any])


def read_reply(body: bytes) -> dict[str, Any] | None:
    """A JSON object as Python values; None for anything else, which then goes on as it came."""
    try:
        return _object.decode(body)
    except UNREADABLE:
        return None


def listed(value: object) -> list[Any]:
    """The value if it is a list, else an empty one: what an upstream says is taken for no more than it is."""
    return value if isinstance(value, list) else []


class EditedEvents:
    """Gives each whole event to `edit`; what it does not understand goes on as it came."""

    def __init__(self) -> None:
        self._cutter = EventCutter()

    def feed(self, block: bytes) -> bytes:
        """Events as they come; one that has not come whole waits."""
        return b"".join(self._event(event) for event in events(self._cutter.feed(block)))

    def finish(self) -> bytes:
        """What was held, and the words that no event has let out."""
        rest = self._cutter.rest()
        return (self._event(rest) if rest else b"") + self.held()

    def broken(self) -> bytes:
        """The words that were held back of a stream that broke off, as an event; half an event is left out."""
        self._cutter.rest()
        return self.held()

    def held(self) -> bytes:
        """Words that could still have become a marker, as an event of their own; nothing when there are none."""
        raise NotImplementedError

    def edit(self, event: bytes, data: bytes, told: dict[str, Any]) -> bytes:
        """What goes out for one event. data: its JSON as it came; told: the same as Python values."""
        raise NotImplementedError

    def _event(self, event: bytes) -> bytes:
        data = payload(event)
        # Data in several lines, which JSON never needs, could not be put back in one piece.
        told = read_reply(data) if data[:1] == b"{" and data in event else None
        return event if told is None else self.edit(event, data, told)
