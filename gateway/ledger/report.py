"""What teams used and what it cost."""

from collections.abc import Sequence

import msgspec

from gateway.core.errors import InvalidRequest
from gateway.core.money import usd_text
from gateway.ledger.reports.store import GROUPS, Amounts, ReportStore, is_group
from gateway.ledger.span import unix_time


class UsageLine(msgspec.Struct, frozen=True):
    """One group's sums. cost_usd is exact text; unpriced counts attempts whose cost is not in it.

    input, cached, output, reasoning and retrieval (injected sources) are disjoint, as in the metrics; prompt_tokens and
    completion_tokens are the provider's own totals. What embedders and rerankers read is input here: group by endpoint.
    """

    group: dict[str, str | None]
    calls: int
    attempts: int
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    tokens: dict[str, int]
    context_tokens: int
    cost_nano_usd: int
    cost_usd: str
    unpriced: int
    estimated: int


class UsageReport(msgspec.Struct, frozen=True):
    """Lines, dearest first, and their total. since and until are UTC times; until is not included."""

    since: str | None
    until: str | None
    by: list[str]
    lines: list[UsageLine]
    total: UsageLine


async def usage_report(
    store: ReportStore, by: Sequence[str], since: str | None = None, until: str | None = None, team: str | None = None
) -> UsageReport:
    """The report of a span of time. since, until: `2026-11-01` or a full ISO time, UTC unless it says otherwise.

    Raises InvalidRequest for an unknown group or a time that cannot be read.
    """
    unknown = [name for name in by if not is_group(name)]
    if unknown:
        raise InvalidRequest(
            f"{unknown[0]!r} is not a group; choose from {', '.join(GROUPS)} and metadata.KEY.", param="by"
        )
    start, end = unix_time(since, "since"), unix_time(until, "until")
    lines = [_line(amounts) for amounts in await store.sums(by, start, end, team)]
    totals = await store.sums((), start, end, team)
    total = _line(totals[0]) if totals else _line(Amounts({}, *([0] * 10)))
    return UsageReport(since, until, list(by), lines, total)


def _line(amounts: Amounts) -> UsageLine:
    return UsageLine(
        group=amounts.group,
        calls=amounts.calls,
        attempts=amounts.attempts,
        prompt_tokens=amounts.input_tokens,
        completion_tokens=amounts.output_tokens,
        total_tokens=amounts.input_tokens + amounts.output_tokens,
        tokens={
            "input": amounts.input_tokens - amounts.cached_tokens - amounts.context_tokens,
            "cached": amounts.cached_tokens,
            "output": amounts.output_tokens - amounts.reasoning_tokens,
            "reasoning": amounts.reasoning_tokens,
            "retrieval": amounts.context_tokens,
        },
        context_tokens=amounts.context_tokens,
        cost_nano_usd=amounts.cost_nano_usd,
        cost_usd=usd_text(amounts.cost_nano_usd),
        unpriced=amounts.unpriced,
        estimated=amounts.estimated,
    )
