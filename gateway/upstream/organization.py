"""A provider's own count of what was used and what it cost, from OpenAI's Usage and Costs API."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Literal

import msgspec

from gateway.core.clock import utc_day
from gateway.core.errors import InvalidRequest, NotFound, UpstreamFailed
from gateway.core.money import nano_from_usd
from gateway.core.settings import secret
from gateway.core.values import Value
from gateway.policy.models_file import UpstreamEntry

GetJson = Callable[[str, dict[str, str], Sequence[tuple[str, str]]], Awaitable[bytes]]
Kind = Literal["completions", "embeddings"]
GROUPS: dict[Kind, tuple[str, ...]] = {
    "completions": ("model", "service_tier", "batch", "api_key_id"),
    "embeddings": ("model", "api_key_id"),
}
DAYS_A_PAGE = 31
# A provider that gives the same page for ever must not keep us for ever: this is more than eight years.
MOST_PAGES = 100
STANDARD = frozenset({"", "default", "auto", "standard"})


class Amount(msgspec.Struct):
    """Money as the Costs API has it."""

    value: Decimal = Decimal(0)
    currency: str = "usd"


class Result(msgspec.Struct):
    """One group of one day: of the Usage API, or of the Costs API (`amount`)."""

    input_tokens: int = 0
    output_tokens: int = 0
    input_cached_tokens: int | None = None
    num_model_requests: int = 0
    model: str | None = None
    service_tier: str | None = None
    batch: bool | None = None
    api_key_id: str | None = None
    amount: Amount | None = None


class Bucket(msgspec.Struct):
    """One day; start_time is Unix seconds."""

    start_time: int
    results: list[Result] = []


class Page(msgspec.Struct):
    """Some days, and where the next ones are."""

    data: list[Bucket]
    has_more: bool = False
    next_page: str | None = None


class ProviderCount(Value, frozen=True):
    """What the provider counted on one UTC day of one model at one tier ('' is the standard one)."""

    day: date
    kind: Kind
    model: str
    tier: str
    requests: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    api_key_id: str = ""


class Organization:
    """One provider's account. base_url: the upstream's, with its `/v1`."""

    def __init__(self, get: GetJson, base_url: str, admin_key: str) -> None:
        self._get = get
        self._base = f"{base_url.rstrip('/')}/organization"
        self._headers = {"authorization": f"Bearer {admin_key}"}

    async def usage(self, since: date, until: date, api_key_ids: Sequence[str] = ()) -> list[ProviderCount]:
        """What was used from one day to before another. api_key_ids: of these of the provider's keys alone.

        Raises UpstreamFailed (502), UpstreamTimeout (504).
        """
        found: list[ProviderCount] = []
        for kind, groups in GROUPS.items():
            query = [("group_by", name) for name in groups] + [("api_key_ids", one) for one in api_key_ids]
            for bucket in await self._pages(f"usage/{kind}", since, until, query):
                day = utc_day(bucket.start_time)
                found += [_count(day, kind, result) for result in bucket.results]
        return found

    async def costs(self, since: date, until: date) -> dict[date, int]:
        """What was charged by UTC day, in nano-dollars; of the whole account. Raises as `usage` does."""
        found: dict[date, int] = {}
        for bucket in await self._pages("costs", since, until, [("group_by", "line_item")]):
            amounts = [result.amount for result in bucket.results if result.amount is not None]
            foreign = next((amount.currency for amount in amounts if amount.currency.lower() != "usd"), None)
            if foreign is not None:
                raise UpstreamFailed(f"Its costs are in {foreign!r}; the books are in USD.")
            day = utc_day(bucket.start_time)
            found[day] = found.get(day, 0) + nano_from_usd(sum((one.value for one in amounts), Decimal(0)))
        return found

    async def _pages(self, path: str, since: date, until: date, query: list[tuple[str, str]]) -> list[Bucket]:
        span = [("start_time", _unix(since)), ("end_time", _unix(until)), ("bucket_width", "1d")]
        asked = [*span, ("limit", str(DAYS_A_PAGE)), *query]
        buckets: list[Bucket] = []
        page = ""
        for _ in range(MOST_PAGES):
            body = await self._get(f"{self._base}/{path}", self._headers, [*asked, ("page", page)] if page else asked)
            try:
                found = msgspec.json.decode(body, type=Page)
            except (msgspec.DecodeError, UnicodeDecodeError) as fault:
                raise UpstreamFailed(f"Its answer about {path} is not understood: {fault}.") from None
            buckets += found.data
            if not found.has_more or not found.next_page:
                return buckets
            page = found.next_page
        raise UpstreamFailed(f"Its answer about {path} does not end after {MOST_PAGES} pages.")


class Accounts:
    """The accounts behind the upstreams of models.yaml. entries: those in force."""

    def __init__(
        self, entries: Callable[[], Mapping[str, UpstreamEntry]], environment: Mapping[str, str], get: GetJson
    ) -> None:
        self._entries = entries
        self._environment = environment
        self._get = get

    def of(self, name: str) -> Organization:
        """An upstream's account. Raises NotFound, and InvalidRequest without an admin key."""
        entries = self._entries()
        entry = entries.get(name)
        if entry is None:
            raise NotFound(f"There is no upstream {name!r}; there are {', '.join(sorted(entries))}.")
        faults: list[str] = []
        key = secret(entry.admin_key, self._environment, faults, f"upstream {name!r}: admin_key")
        base = secret(entry.base_url, self._environment, faults, f"upstream {name!r}: base_url")
        if faults:
            raise InvalidRequest(" ".join(faults), param="upstream")
        if key is None or base is None:
            told = (
                f"Upstream {name!r} has no admin_key; in policies/models.yaml write `admin_key: env:OPENAI_ADMIN_KEY`."
            )
            raise InvalidRequest(told, param="upstream")
        return Organization(self._get, base, key)


def _count(day: date, kind: Kind, result: Result) -> ProviderCount:
    tier = (result.service_tier or "").lower()
    return ProviderCount(
        day=day,
        kind=kind,
        model=result.model or "",
        tier="batch" if result.batch else "" if tier in STANDARD else tier,
        requests=result.num_model_requests,
        input_tokens=result.input_tokens,
        cached_tokens=result.input_cached_tokens or 0,
        output_tokens=result.output_tokens,
        api_key_id=result.api_key_id or "",
    )


def _unix(day: date) -> str:
    return str(int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()))
