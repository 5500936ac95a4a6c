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

    async def page(self, asked: PageAsked) -> tuple[list[Json], bool]:
        """The first files of the provider's list and whether it has more; none of one that keeps none."""
        name = self._default_upstream()
        target = "/files?" + urlencode({"limit": asked.limit, "order": asked.order})
        body = b""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                async for part in fetch(self._upstreams.named(name), target):
                    body += part
                    if len(body) > LONGEST_LIST:
                        return [], False
            found = _listed.decode(body)
        except (UpstreamFailed, TimeoutError, msgspec.DecodeError, RecursionError):
            # Many servers that speak OpenAI keep no files; a list of ours is not to fail for that.
            return [], False
        # Copies of files of ours, made for jobs there, are listed under the ids that they have here.
        ours = await self._files.ours_at(name, tuple(str(file.get("id")) for file in found.data))
        rest = [file for file in found.data if file.get("id") not in ours]
        return rest[: asked.limit], found.has_more or len(rest) > asked.limit
