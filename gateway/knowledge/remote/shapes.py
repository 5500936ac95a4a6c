"""What the shapes of all places have in common: reading a reply, attributes, what is restricted, opening a pass."""

from collections.abc import AsyncIterator, Awaitable, Callable
from inspect import isawaitable
from typing import TypeVar

import msgspec

from gateway.core.facts import Attributes
from gateway.knowledge.connectors import Change, Fault
from gateway.knowledge.remote.fetch import Fetcher, FetchFailed, Reply
from gateway.knowledge.settings import RemoteSettings

MOST_ATTRIBUTES = 16
MOST_CHARACTERS = 512

Shape = TypeVar("Shape")


def decoded(reply: Reply, shape: type[Shape]) -> Shape:
    """A reply's JSON in its shape; keys that are not of it are passed over. Raises FetchFailed."""
    try:
        return msgspec.json.decode(reply.body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        place = reply.url.partition("?")[0]
        raise FetchFailed(f"{place}: the reply is not what the API's documentation says ({fault}).") from None


def decoded_list(reply: Reply, shape: type[Shape]) -> list[Shape]:
    """A reply that is a list of things of one shape. Raises FetchFailed."""
    return decoded(reply, list[shape])  # type: ignore[valid-type]  # a type made at run time


def attributes_of(**told: str | float | bool | None) -> Attributes:
    """Attributes as a filter takes them, sorted; what is None or empty is left out, long text is cut."""
    kept = [
        (key, value[:MOST_CHARACTERS] if isinstance(value, str) else value)
        for key, value in told.items()
        if value is not None and value != ""
    ]
    return tuple(sorted(kept[:MOST_ATTRIBUTES]))


class Restricted:
    """What becomes of documents that only some may read at their source. readers: the teams that are named for them."""

    def __init__(self, teams: tuple[str, ...] | None) -> None:
        self.readers = teams
        self._left_out: set[str] = set()

    def takes(self, identity: str) -> bool:
        """Whether a restricted document is taken in; one that is not is counted."""
        if self.readers is None:
            self._left_out.add(identity)
        return self.readers is not None

    def remarks(self, source: str) -> tuple[str, ...]:
        """A line that says how many were left out; none when there were none."""
        if not self._left_out:
            return ()
        count = len(self._left_out)
        return (f"{source}: {count} restricted left out; `restricted: [team, ...]` names teams that may read them.",)


async def fetching(
    settings: RemoteSettings,
    headers: Callable[[], dict[str, str] | Awaitable[dict[str, str]]],
    work: Callable[[Fetcher], AsyncIterator[Change]],
) -> AsyncIterator[Change]:
    """The changes of a pass that asks one place. What keeps it from beginning is a fault that keeps everything."""
    try:
        made = headers()
        fetcher = Fetcher(settings, await made if isawaitable(made) else made)
    except FetchFailed as fault:
        yield Fault(f"{settings.key}: {fault.line}", "*")
        return
    async with fetcher:
        async for change in work(fetcher):
            yield change
