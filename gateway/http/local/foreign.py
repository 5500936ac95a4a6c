"""Files that a provider keeps, where a list is to have them beside ours."""

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import msgspec

from gateway.core.errors import UpstreamFailed
from gateway.core.page import PageAsked
from gateway.files.store import FileStore
from gateway.http.local.replies import Json
from gateway.upstream.asking import fetch
from gateway.upstream.upstreams import Upstreams

LONGEST_LIST = 16 * 1024 * 1024
ANSWER_SECONDS = 5.0
# Of the provider's own, looked through for one page of what is not known here.
MOST_PAGES = 20


class _Listed(msgspec.Struct):
    data: list[dict[str, Any]]
    has_more: bool = False


_listed = msgspec.json.Decoder(_Listed)


class ForeignFiles:
    """Asks the upstream that calls go to which name no model."""

    def __init__(self, default_upstream: Callable[[], str], upstreams: Upstreams, files: FileStore) -> None:
        self._default_upstream = default_upstream
        self._upstreams = upstreams
        self._files = files

    async def page(self, asked: PageAsked, purpose: str | None = None) -> tuple[list[Json], bool]:
        """A part of the provider's list without what is known here, and whether it has more.

        Copies of files of ours, made for jobs there, and what came of jobs and batches are listed under the ids that
        they have here. Raises UpstreamFailed (502) for a provider that gives no list.
        """
        name = self._default_upstream()
        rest: list[Json] = []
        after, more = asked.after, True
        for _ in range(MOST_PAGES):
            found = await self._read(name, asked, after, purpose)
            ours = await self._files.ours_at(name, tuple(str(file.get("id")) for file in found.data))
            rest += [file for file in found.data if file.get("id") not in ours]
            more = found.has_more and bool(found.data)
            # A page of which all is known here must not look like the end.
            if not more or len(rest) >= asked.limit:
                break
            after = str(found.data[-1].get("id"))
        return rest[: asked.limit], more or len(rest) > asked.limit

    async def _read(self, name: str, asked: PageAsked, after: str | None, purpose: str | None) -> _Listed:
        pairs = {"limit": str(asked.limit), "order": asked.order, "after": after, "purpose": purpose}
        target = "/files?" + urlencode({key: value for key, value in pairs.items() if value is not None})
        body = b""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                async for part in fetch(self._upstreams.named(name), target):
                    body += part
                    if len(body) > LONGEST_LIST:
                        raise UpstreamFailed(f"Upstream {name!r} answered with too long a list of files.")
            return _listed.decode(body)
        except (TimeoutError, msgspec.DecodeError, RecursionError):
            raise UpstreamFailed(f"Upstream {name!r} gave no list of files.") from None
