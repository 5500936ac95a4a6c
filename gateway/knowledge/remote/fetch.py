"""Asking a place over HTTP: one origin, deadlines, pace, bounded retries, bounded sizes; secrets never in a fault."""

import asyncio
import base64
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Self
from urllib.parse import urljoin, urlsplit

import httpx2
import msgspec

from gateway.core.settings import environment, secret
from gateway.core.values import Value
from gateway.knowledge.remote.guard import AddressRefused, GuardedTransport
from gateway.knowledge.settings import RemoteSettings

REQUEST_SECONDS = 30.0
MOST_BYTES = 16 * 1024 * 1024
TRIES = 4
LONGEST_WAIT_SECONDS = 60.0
FIRST_WAIT_SECONDS = 0.5
MOST_REDIRECTS = 5
AGENT = "switchyard-gateway"
# Of one thing: it is there no more.
GONE = frozenset({404, 410})
_TRY_AGAIN = frozenset({429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})

Query = Sequence[tuple[str, str]]


class FetchFailed(Exception):
    """No answer that can be used; the text is for a person. status: of the reply, None without one.

    retry_after_seconds: how long the place asked to be left alone, when that was longer than a pass may wait.
    """

    def __init__(self, line: str, status: int | None = None, retry_after_seconds: float | None = None) -> None:
        super().__init__(line)
        self.line = line
        self.status = status
        self.retry_after_seconds = retry_after_seconds


class Reply(Value, frozen=True):
    """A whole reply. headers: names in lower case. url: where it came from after redirects."""

    status: int
    headers: dict[str, str]
    body: bytes
    url: str


class Fetcher:
    """Asks one origin. Use as `async with`; requests go one after the other, not faster than the settings say.

    headers: sent with each request; they may hold secrets and go to this origin only. wall, sleep: the clock.
    """

    def __init__(
        self,
        settings: RemoteSettings,
        headers: Mapping[str, str] | None = None,
        *,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._base = settings.path
        self._origin = origin_of(settings.path)
        self._headers = {"user-agent": AGENT, **(headers or {})}
        self._gap_seconds = 1.0 / settings.requests_per_second
        self._wall = wall
        self._next = 0.0
        inner = httpx2.AsyncHTTPTransport(trust_env=False, limits=httpx2.Limits(max_connections=4))
        transport = inner if settings.private_network else GuardedTransport(inner)
        self._client = httpx2.AsyncClient(transport=transport, timeout=REQUEST_SECONDS, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def get(
        self,
        target: str,
        query: Query = (),
        *,
        headers: Mapping[str, str] | None = None,
        taken: frozenset[int] = frozenset(),
        most_bytes: int = MOST_BYTES,
    ) -> Reply:
        """The reply to a GET. target: a path below the base, or a URL of the same origin.

        taken: statuses beside 2xx that are answers too. Raises FetchFailed.
        """
        request = self._client.build_request("GET", self._url(target), headers={**self._headers, **(headers or {})})
        if query:
            request.url = request.url.copy_merge_params(list(query))
        return await self._persist(request, taken, most_bytes)

    async def post(self, target: str, body: object, headers: Mapping[str, str] | None = None) -> Reply:
        """The reply to a POST of JSON, for what only asks and changes nothing. Raises FetchFailed."""
        sent = {**self._headers, "content-type": "application/json", **(headers or {})}
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        request = self._client.build_request("POST", self._url(target), headers=sent, content=content)
        return await self._persist(request, frozenset(), MOST_BYTES)

    def _url(self, target: str) -> str:
        if "://" not in target:
            return f"{self._base}/{target.removeprefix('/')}"
        if origin_of(target) != self._origin:
            raise FetchFailed(f"{_told(target)} is of another host than {_told(self._base)}; it is not asked.")
        return target

    async def _persist(self, request: httpx2.Request, taken: frozenset[int], most_bytes: int) -> Reply:
        """Tries again what may pass: no answer, 429 and 5xx; waits as long as the place asks, within a limit."""
        place = _told(str(request.url))
        for attempt in range(1, TRIES + 1):
            wait = FIRST_WAIT_SECONDS * 2 ** (attempt - 1)
            try:
                reply = await self._redirected(request, most_bytes)
            except AddressRefused as fault:
                raise FetchFailed(f"{fault}.") from None
            except (TimeoutError, httpx2.TimeoutException):
                failed = FetchFailed(f"{place} did not answer in {REQUEST_SECONDS:.0f} s.")
            except (httpx2.HTTPError, httpx2.InvalidURL) as fault:
                failed = FetchFailed(f"{place} cannot be reached ({type(fault).__name__}).")
            else:
                if 200 <= reply.status < 300 or reply.status in taken:
                    return reply
                failed = FetchFailed(f"{place} answered {reply.status}{_reason(reply)}.", reply.status)
                if reply.status not in _TRY_AGAIN:
                    raise failed
                asked = retry_after(reply.headers.get("retry-after"), self._wall())
                wait = wait if asked is None else asked
            if wait > LONGEST_WAIT_SECONDS:
                failed.retry_after_seconds = wait
                raise failed
            if attempt == TRIES:
                raise failed
            await asyncio.sleep(wait)
        raise AssertionError("the last try returned or raised")

    async def _redirected(self, request: httpx2.Request, most_bytes: int) -> Reply:
        for _ in range(MOST_REDIRECTS + 1):
            reply = await self._once(request, most_bytes)
            if reply.status not in _REDIRECTS or "location" not in reply.headers:
                return reply
            target = urljoin(reply.url, reply.headers["location"])
            if not self._may_follow(target):
                raise FetchFailed(f"{_told(reply.url)} leads to another host ({_told(target)}).", reply.status)
            request = self._client.build_request(request.method, target, headers=request.headers)
        raise FetchFailed(f"{_told(str(request.url))} leads from one place to the next without end.", 310)

    def _may_follow(self, target: str) -> bool:
        # Only the same host, and never from https to http: what is sent along would be readable under way.
        scheme, host, port = origin_of(target)
        mine = self._origin
        return (scheme, host, port) == mine or ((scheme, host) == ("https", mine[1]) and mine[0] == "http")

    async def _once(self, request: httpx2.Request, most_bytes: int) -> Reply:
        url = str(request.url)
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._next > now:
            await asyncio.sleep(self._next - now)
        self._next = loop.time() + self._gap_seconds
        async with asyncio.timeout(REQUEST_SECONDS):
            # A copy: the guarded transport writes the address into it.
            again = self._client.build_request(request.method, url, headers=request.headers, content=request.content)
            reply = await self._client.send(again, stream=True)
            try:
                body = bytearray()
                async for part in reply.aiter_bytes():
                    body += part
                    if len(body) > most_bytes:
                        raise FetchFailed(f"{_told(url)} has more than {most_bytes} bytes.", reply.status_code)
            finally:
                await reply.aclose()
        headers = {name.lower(): value for name, value in reply.headers.items()}
        return Reply(reply.status_code, headers, bytes(body), url)


def retry_after(header: str | None, now: float) -> float | None:
    """The seconds that a Retry-After asks for, as a number or as a date; None when it says nothing readable."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.replace(".", "", 1).isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now)


def origin_of(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of a URL. Raises FetchFailed for one that has none."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise FetchFailed("an address that cannot be read.") from None
    return parts.scheme, parts.hostname or "", port


def found_secret(reference: str | None, name: str) -> str:
    """What a secret's reference holds now, so that a changed file is in the next pass. Raises FetchFailed."""
    faults: list[str] = []
    found = secret(reference, environment(), faults, name)
    if found is None:
        raise FetchFailed(faults[0] if faults else f"{name}: there is none.")
    return found


def basic(user: str, password: str) -> dict[str, str]:
    """The header of HTTP's basic authentication."""
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def _told(url: str) -> str:
    """A URL as a fault may show it: without query, which may hold a key, and without credentials."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"


def _reason(reply: Reply) -> str:
    """A short code or message from an error body, where APIs put one; never more than 200 printable characters."""
    try:
        body = msgspec.json.decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    told = [body.get(key) for key in ("error", "message", "code", "title")] if isinstance(body, dict) else []
    words = [word.get("message") if isinstance(word, dict) else word for word in told]
    text = "; ".join(word for word in words if isinstance(word, str) and word)
    printable = "".join(character for character in text if character.isprintable())[:200]
    return f" ({printable})" if printable else ""
