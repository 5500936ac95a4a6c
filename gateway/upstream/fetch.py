"""Small documents over HTTPS, and forms: what a sign-in provider is asked."""

from collections.abc import Mapping

import httpx2

from gateway.core.errors import UpstreamFailed, UpstreamTimeout

SECONDS = 10.0
LONGEST = 1024 * 1024


class Fetcher:
    """One pooled client, which follows no redirect; `close` ends it."""

    def __init__(self) -> None:
        self._client = httpx2.AsyncClient(timeout=SECONDS, trust_env=False)

    async def get(self, url: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Status and body. Raises UpstreamFailed (502) for no answer or one over 1 MiB, UpstreamTimeout (504)."""
        return await self._ask("GET", url, headers, None)

    async def post_form(self, url: str, headers: Mapping[str, str], fields: Mapping[str, str]) -> tuple[int, bytes]:
        """The same for a form sent by POST."""
        return await self._ask("POST", url, headers, dict(fields))

    async def _ask(
        self, method: str, url: str, headers: Mapping[str, str], fields: dict[str, str] | None
    ) -> tuple[int, bytes]:
        host = httpx2.URL(url).host
        body = b""
        try:
            async with self._client.stream(method, url, headers=dict(headers), data=fields) as reply:
                async for part in reply.aiter_bytes():
                    body += part
                    if len(body) > LONGEST:
                        raise UpstreamFailed(f"{host} answered with more than {LONGEST:,} bytes.")
                return reply.status_code, body
        except httpx2.TimeoutException:
            raise UpstreamTimeout(f"{host} did not answer in {SECONDS:.0f} s.") from None
        except httpx2.HTTPError as fault:
            raise UpstreamFailed(f"{host} cannot be reached ({type(fault).__name__}).") from None

    async def close(self) -> None:
        """Closes its connections."""
        await self._client.aclose()
