"""Plain requests for what is not a caller's call: embeddings, webhooks, exports, a provider's own counts."""

import asyncio
from collections.abc import Mapping, Sequence

import httpx2

from gateway.core.errors import UpstreamFailed, UpstreamTimeout

SECONDS = 30.0


class JsonPoster:
    """One pooled client; `close` ends it."""

    def __init__(self) -> None:
        self._client = httpx2.AsyncClient(timeout=SECONDS, trust_env=False)

    async def post(self, url: str, headers: dict[str, str], body: bytes) -> bytes:
        """The reply's body. Raises UpstreamFailed (502) for anything but a 2xx, UpstreamTimeout (504)."""
        return await self._send(self._client.build_request("POST", url, headers=headers, content=body))

    async def get(self, url: str, headers: dict[str, str], query: Sequence[tuple[str, str]]) -> bytes:
        """The reply's body; a name may stand several times in the query. Raises what `post` does."""
        return await self._send(self._client.build_request("GET", url, headers=headers, params=list(query)))

    async def _send(self, request: httpx2.Request) -> bytes:
        url = str(request.url)
        try:
            reply = await self._client.send(request)
        except httpx2.TimeoutException:
            raise UpstreamTimeout(f"{_host(url)} did not answer in {SECONDS:.0f} s.") from None
        except httpx2.HTTPError as fault:
            raise UpstreamFailed(f"{_host(url)} cannot be reached ({type(fault).__name__}).") from None
        if not reply.is_success:
            raise UpstreamFailed(f"{_host(url)} answered {reply.status_code}.")
        return reply.content

    async def status(self, url: str, headers: Mapping[str, str], body: bytes, seconds: float = 10.0) -> int:
        """The status of the reply, whose body nobody reads; redirects are not followed.

        seconds: for everything together. Raises UpstreamTimeout (504), UpstreamFailed (502) without a reply.
        """
        try:
            async with asyncio.timeout(seconds):
                async with self._client.stream("POST", url, headers=dict(headers), content=body) as reply:
                    return reply.status_code
        except (TimeoutError, httpx2.TimeoutException):
            raise UpstreamTimeout(f"{_host(url)} did not answer in {seconds:.0f} s.") from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as fault:
            raise UpstreamFailed(f"{_host(url)} cannot be reached ({type(fault).__name__}).") from None

    async def close(self) -> None:
        """Closes its connections."""
        await self._client.aclose()


def _host(url: str) -> str:
    try:
        return httpx2.URL(url).host
    except httpx2.InvalidURL:
        return "an address that cannot be read"
