"""Plain requests, for what is not a caller's call: embeddings of documents and questions, and a provider's counts."""

from collections.abc import Sequence

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

    async def close(self) -> None:
        """Closes its connections."""
        await self._client.aclose()


def _host(url: str) -> str:
    return httpx2.URL(url).host
