"""Small documents over HTTP, forms and JSON: what sign-in providers, clusters and servers of adapters are asked."""

from collections.abc import Mapping

import httpx2

from gateway.core.errors import UpstreamFailed, UpstreamTimeout

SECONDS = 10.0
LONGEST = 1024 * 1024


class Fetcher:
    """One pooled client, which follows no redirect; `close` ends it."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._client = httpx2.AsyncClient(timeout=seconds, trust_env=False)

    async def get(self, url: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Status and body. Raises UpstreamFailed (502) for no answer or one over 1 MiB, UpstreamTimeout (504)."""
        return await self._ask("GET", url, headers, None)

    async def post_form(self, url: str, headers: Mapping[str, str], fields: Mapping[str, str]) -> tuple[int, bytes]:
        """The same for a form sent by POST."""
        return await self._ask("POST", url, headers, dict(fields))

    async def send_json(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """The same for a JSON body, by any method."""
        return await self._ask(method, url, {**headers, "content-type": "application/json"}, None, body)

    async def _ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        fields: dict[str, str] | None,
        content: bytes | None = None,
    ) -> tuple[int, bytes]:
        host = httpx2.URL(url).host
        body = b""
        try:
            async with self._client.stream(method, url, headers=dict(headers), data=fields, content=content) as reply:
                async for part in reply.aiter_bytes():
                    body += part
                    if len(body) > LONGEST:
                        raise UpstreamFailed(f"{host} answered with more than {LONGEST:,} bytes.")
                return reply.status_code, body
        except httpx2.TimeoutException:
            raise UpstreamTimeout(f"{host} did not answer in {self._seconds:.0f} s.") from None
        except httpx2.HTTPError as fault:
            raise UpstreamFailed(f"{host} cannot be reached ({type(fault).__name__}).") from None

    async def close(self) -> None:
        """Closes its connections."""
        await self._client.aclose()
