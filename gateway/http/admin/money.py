"""/admin of prices and of what usage cost: the twins of `gateway prices` and `gateway usage`."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import msgspec
from litestar import Request, get, post
from litestar.datastructures import State
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.response import Stream

from gateway.core.clock import Clock, utc_day
from gateway.core.errors import BadConfiguration, InvalidRequest
from gateway.core.money import nano_from_usd
from gateway.db.engine import Database
from gateway.db.store import note_alone
from gateway.http.access import actor_of
from gateway.http.admin.usage import one_team
from gateway.ledger.adjustments.store import Adjustment, Adjustments, Repricing, Span
from gateway.ledger.adjustments.what_if import PriceDifference, of_their_day, price_difference
from gateway.ledger.reports.export import Format, export
from gateway.ledger.reports.reconcile import Reconciliation, reconcile
from gateway.ledger.reports.store import ReportStore
from gateway.ledger.span import unix_time
from gateway.pricing.apply import Applied, apply_file, prices_text
from gateway.pricing.rates import Rates
from gateway.pricing.table import PriceTable
from gateway.upstream.organization import Accounts

DAY_SECONDS = 86_400


class NewPrices(msgspec.Struct, forbid_unknown_fields=True):
    """Entries as in prices.yaml, as text; without any a difference is to the installed package."""

    text: str | None = None
    dry_run: bool = False


class NewRepricing(msgspec.Struct, forbid_unknown_fields=True):
    """Which rows to price anew. since, until: a day or an ISO time."""

    since: str | None = None
    until: str | None = None
    team: str | None = None
    model: str | None = None
    reason: str = "repriced"
    dry_run: bool = False


class NewAdjustment(msgspec.Struct, forbid_unknown_fields=True):
    """A correction of one row by hand. usd: exact text, negative to give back."""

    usd: str
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)]


class Money:
    """What the handlers need; one per app, under `state.money`.

    prices: those in force. accounts: the providers' own, behind the upstreams.
    """

    def __init__(
        self,
        database: Database,
        prices: Callable[[], PriceTable],
        accounts: Accounts,
        policies: Path,
        clock: Clock,
    ) -> None:
        self.database = database
        self.adjustments = Adjustments(database)
        self.reports = ReportStore(database)
        self.prices = prices
        self.accounts = accounts
        self.prices_file = policies / "prices.yaml"
        self.clock = clock


@get("/prices")
async def show_prices(
    state: State, models: FromQuery[str], day: FromQuery[date | None] = None
) -> dict[str, Rates | None]:
    """The rates of models (with commas between them), null for no price."""
    money = _money(state)
    on = day or utc_day(money.clock.wall())
    return {model: money.prices().rates(model, on) for model in models.split(",") if model}


@post("/prices/diff", status_code=200)
async def diff_prices(
    state: State, data: JSONBody[NewPrices], days: FromQuery[int] = 30, team: FromQuery[str | None] = None
) -> PriceDifference:
    """What new prices would change, of rates and of the last days' rows."""
    money = _money(state)
    now = money.clock.wall()
    span = Span(since=now - days * DAY_SECONDS, team=team)
    try:
        written = await asyncio.to_thread(prices_text, money.prices_file)
        return await price_difference(money.adjustments, written, data.text, "text", span, utc_day(now))
    except BadConfiguration as bad:
        raise InvalidRequest("\n".join(bad.faults), param="text") from None


@post("/prices/apply", status_code=200)
async def apply_prices(request: Request[Any, Any, Any], state: State, data: JSONBody[NewPrices]) -> Applied:
    """Takes entries into prices.yaml; they are in force within a second."""
    if data.text is None:
        raise InvalidRequest("text is missing; it holds entries as in prices.yaml.", param="text")
    money = _money(state)
    try:
        done = await asyncio.to_thread(apply_file, money.prices_file, data.text, "text", is_dry_run=data.dry_run)
    except BadConfiguration as bad:
        raise InvalidRequest("\n".join(bad.faults), param="text") from None
    if not data.dry_run:
        await note_alone(money.database, actor_of(request), "prices.apply", "file:prices.yaml", models=done.added)
    return done


@post("/prices/reprice", status_code=200)
async def reprice(request: Request[Any, Any, Any], state: State, data: JSONBody[NewRepricing]) -> Repricing:
    """Prices rows anew at the prices of their day; the differences become adjustments."""
    money = _money(state)
    span = Span(unix_time(data.since, "since"), unix_time(data.until, "until"), data.team, data.model)
    rates = of_their_day(money.prices())
    return await money.adjustments.reprice(rates, span, actor_of(request), data.reason, is_dry_run=data.dry_run)


@post("/usage/{event_id:str}/adjust")
async def adjust_usage(
    request: Request[Any, Any, Any], state: State, event_id: FromPath[str], data: JSONBody[NewAdjustment]
) -> Adjustment:
    """Corrects what one row cost, as a row of its own."""
    try:
        nano = nano_from_usd(data.usd)
    except ValueError as fault:
        raise InvalidRequest(f"{fault}; write it such as -0.05.", param="usd") from None
    return await _money(state).adjustments.adjust(event_id, nano, data.reason, actor_of(request))


@get("/usage/{event_id:str}/adjustments")
async def list_adjustments(state: State, event_id: FromPath[str]) -> list[Adjustment]:
    """The corrections of one row, oldest first."""
    return await _money(state).adjustments.of(event_id)


@get("/usage/export")
async def export_usage(
    request: Request[Any, Any, Any],
    state: State,
    format: FromQuery[Format] = "csv",  # noqa: A002  # the parameter's name
    since: FromQuery[str | None] = None,
    until: FromQuery[str | None] = None,
    team: FromQuery[str | None] = None,
) -> Stream:
    """The sums by day as CSV, or as a FOCUS 1.2 dataset."""
    money = _money(state)
    pieces = export(money.reports, format, since, until, utc_day(money.clock.wall()), one_team(request, team))
    # Its head is made before the reply begins: a fault in what was asked is a status, not a broken body.
    head = await anext(pieces)
    return Stream(_with(head, pieces), media_type="text/csv; charset=utf-8")


@get("/usage/reconcile")
async def reconcile_usage(
    state: State,
    upstream: FromQuery[str],
    since: FromQuery[str],
    until: FromQuery[str],
    tolerance: FromQuery[float] = 0.0,
    api_key_id: FromQuery[list[str] | None] = None,
) -> Reconciliation:
    """The books beside the provider's own count."""
    money = _money(state)
    account = money.accounts.of(upstream)
    return await reconcile(money.reports, account, upstream, since, until, tolerance, api_key_id or ())


async def _with(head: str, rest: AsyncIterator[str]) -> AsyncIterator[str]:
    yield head
    async for piece in rest:
        yield piece


def _money(state: State) -> Money:
    money: Money = state.money
    return money
