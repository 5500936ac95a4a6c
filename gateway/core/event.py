"""A closed attempt: the one value that the ledger keeps and the metrics count."""

from typing import Literal

from gateway.core.usage import Usage
from gateway.core.values import Value

Outcome = Literal["ok", "upstream_error", "caller_left", "interrupted", "timeout", "refused"]
CostStatus = Literal["priced", "unpriced", "estimated", "free"]


class UsageEvent(Value, frozen=True):
    """One attempt, closed. Exactly one per attempt that sent bytes, and one per call refused here.

    id: `<call_id>.<attempt>`, unique for ever. last: this attempt closed its call.
    usage, cost_nano_usd: None when not known (never 0 for unknown). Seconds are durations; `at` is the Unix
    time at which the attempt began, the same in every record of it: it decides the day, the price and the period
    of a budget. pools: the budgets, each with its period, that it is charged to. cost_by_kind: disjoint parts whose
    sum is cost_nano_usd. context_tokens: tokens of injected sources, a part of the input. attempt 0: refused before
    any upstream was asked.
    """

    id: str
    call_id: str
    attempt: int
    last: bool
    at: float
    team: str
    key_id: str
    endpoint: str
    asked_model: str
    path: str
    upstream: str
    model: str
    line: str | None
    rule: str
    collections: tuple[str, ...]
    outcome: Outcome
    status: int
    error: str
    stream: bool
    usage: Usage | None
    cost_nano_usd: int | None
    cost_by_kind: tuple[tuple[str, int], ...]
    cost_status: CostStatus
    price_source: str
    context_tokens: int
    seconds: float
    first_byte_seconds: float | None
    upstream_seconds: float
    metadata: tuple[tuple[str, str], ...] = ()
    organisation: str = ""
    pools: tuple[str, ...] = ()


class Closing(Value, frozen=True):
    """How an attempt ended. error: a code of `core.errors`, '' when all went well."""

    outcome: Outcome
    status: int
    error: str = ""
    usage: Usage | None = None
    first_byte_seconds: float | None = None
