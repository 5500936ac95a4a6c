"""What an upstream says of a fine-tuning job or a batch, and what it comes to. OpenAI's objects, read in part."""

from typing import Literal

import msgspec

from gateway.core.clock import utc_day
from gateway.core.event import CostStatus, Outcome, UsageEvent
from gateway.core.usage import Usage
from gateway.core.values import Value
from gateway.ledger.jobs.store import Job
from gateway.pricing.rates import Rates, priced, training_cost
from gateway.pricing.table import PriceTable
from gateway.wire.usage import read_usage

ENDS = frozenset({"succeeded", "failed", "cancelled", "completed", "expired"})
OUTCOMES: dict[str, Outcome] = {"succeeded": "ok", "completed": "ok", "cancelled": "interrupted"}
KINDS: dict[str, Literal["training", "batch"]] = {"fine_tuning.job": "training", "batch": "batch"}
TRAINING, BATCH = "training", "batch"
HOUR_SECONDS = 3_600
# Lines of a batch that were answered and say nothing of what they used.
UNMETERED = "unmetered"


class Counts(Value, frozen=True):
    """How many of a batch's requests went how."""

    completed: int | None = None


class Told(Value, frozen=True):
    """A job object. trained_tokens: what is billed, epochs counted in; None as long as nobody knows."""

    id: str = ""
    object: str = ""
    status: str = ""
    model: str | None = None
    fine_tuned_model: str | None = None
    created_at: float | None = None
    finished_at: float | None = None
    completed_at: float | None = None
    cancelled_at: float | None = None
    failed_at: float | None = None
    expired_at: float | None = None
    trained_tokens: int | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    request_counts: Counts | None = None

    @property
    def has_ended(self) -> bool:
        """Whether nothing more is done, and so nothing more is spent."""
        return self.object in KINDS and self.status in ENDS

    @property
    def ended_at(self) -> float | None:
        """When, as far as it is told."""
        return self.finished_at or self.completed_at or self.cancelled_at or self.failed_at or self.expired_at


class _Page(Value, frozen=True):
    data: tuple[Told, ...] = ()


class _Body(Value, frozen=True):
    model: str = ""
    usage: msgspec.Raw = msgspec.Raw()


class _Answer(Value, frozen=True):
    status_code: int = 0
    body: _Body | None = None


class _Line(Value, frozen=True):
    response: _Answer | None = None


_told = msgspec.json.Decoder(Told)
_page = msgspec.json.Decoder(_Page)
_line = msgspec.json.Decoder(_Line)
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read_told(body: bytes) -> Told | None:
    """A job object; None for anything else."""
    try:
        found = _told.decode(body)
    except UNREADABLE:
        return None
    return found if found.id and found.object in KINDS else None


def read_page(body: bytes) -> list[Told]:
    """The job objects of a list; none for anything else."""
    try:
        return [one for one in _page.decode(body).data if one.id and one.object in KINDS]
    except UNREADABLE:
        return []


class Tally:
    """What the lines of a batch's files used, summed by model."""

    def __init__(self) -> None:
        self.models: dict[str, Usage] = {}
        self.unmetered = 0

    def add(self, line: bytes) -> None:
        """Counts one line of an output or error file; a refused request used nothing."""
        try:
            answer = _line.decode(line).response
        except UNREADABLE:
            self.unmetered += 1
            return
        if answer is None or answer.body is None:
            return
        usage = read_usage(bytes(answer.body.usage)) if bytes(answer.body.usage) else None
        if usage is None:
            self.unmetered += answer.status_code < 300
            return
        name = answer.body.model
        before = self.models.get(name, Usage(0, 0, service_tier=BATCH))
        sums = {field: getattr(before, field) + getattr(usage, field) for field in SUMMED}
        self.models[name] = msgspec.structs.replace(before, **sums)


SUMMED = tuple(
    field for field in Usage.__struct_fields__ if field.endswith("_tokens")
)  # every count; the raw JSON of thousands of lines is kept in their file


def training_event(job: Job, told: Told, at: float, prices: PriceTable) -> UsageEvent:
    """The row of a fine-tuning job that has ended: its trained tokens as input, at the training rate of its day.

    What it does not say is not known: its tokens and its cost are None then, and not 0.
    """
    model = told.fine_tuned_model or told.model or job.model
    rates = training_rates(prices, model, at)
    tokens = told.trained_tokens
    cost = training_cost(rates, tokens) if rates is not None and tokens is not None else None
    status: CostStatus = "unpriced" if cost is None else "priced"
    if cost is None and rates is not None:
        cost = _by_the_hour(rates, told)
        status = "unpriced" if cost is None else "estimated"
    usage = None if tokens is None or tokens < 0 else Usage(tokens, 0)
    source = rates.source if rates is not None else ""
    return _event(
        job, job.id, TRAINING, model, OUTCOMES.get(told.status, "upstream_error"), at, usage, cost, status, source
    )


def training_rates(prices: PriceTable, model: str, at: float) -> Rates | None:
    """What training costs: the rate stands with the tuned model, whose base is what the request named."""
    day = utc_day(at)
    return prices.rates(model if model.startswith("ft:") else f"ft:{model}", day) or prices.rates(model, day)


def _by_the_hour(rates: Rates, told: Told) -> int | None:
    begun, ended = told.created_at, told.finished_at
    if rates.training_hour_nano_usd is None or begun is None or ended is None or ended < begun:
        return None
    # Waiting in the queue is in it: what the provider bills is not told, so the row says that it is an estimate.
    return int(ended - begun) * rates.training_hour_nano_usd // HOUR_SECONDS


def batch_events(job: Job, told: Told, at: float, tally: Tally, prices: PriceTable) -> list[UsageEvent]:
    """The rows of a batch that has ended, one for each model that answered, at the batch rates of its day.

    Where no batch rates are known the cost is None: it is not a fixed share of what calls cost.
    """
    outcome = OUTCOMES.get(told.status, "upstream_error")
    events = []
    for model, usage in sorted(tally.models.items()):
        rates = prices.rates(model, utc_day(at))
        kinds, cost, status = priced(rates, usage)
        source = rates.source if rates is not None else ""
        event = _event(job, f"{job.id}:{model}", BATCH, model, outcome, at, usage, cost, status, source)
        events.append(msgspec.structs.replace(event, cost_by_kind=kinds))
    if tally.unmetered:
        events.append(_event(job, f"{job.id}:{UNMETERED}", BATCH, job.model, outcome, at, None, None, "unpriced", ""))
    if not events:
        events.append(_silent(job, told, outcome, at))
    return events


def _silent(job: Job, told: Told, outcome: Outcome, at: float) -> UsageEvent:
    """The row of a batch without a line that says what it used."""
    if told.request_counts is not None and told.request_counts.completed == 0:
        return _event(job, job.id, BATCH, job.model, outcome, at, Usage(0, 0, service_tier=BATCH), 0, "free", "")
    return _event(job, job.id, BATCH, job.model, outcome, at, None, None, "unpriced", "")


def unknown_event(job: Job, at: float) -> UsageEvent:
    """The row of a job of which nothing can be learned any more."""
    return _event(job, job.id, job.kind, job.model, "timeout", at, None, None, "unpriced", "")


def _event(
    job: Job,
    row: str,
    endpoint: str,
    model: str,
    outcome: Outcome,
    at: float,
    usage: Usage | None,
    cost: int | None,
    status: CostStatus,
    source: str,
) -> UsageEvent:
    return UsageEvent(
        id=row,
        call_id=job.id,
        attempt=1,
        last=False,
        at=at,
        team=job.team,
        key_id=job.key_id,
        endpoint=endpoint,
        asked_model=job.model,
        path="passthrough",
        upstream=job.upstream,
        model=model,
        line=None,
        rule="",
        collections=(),
        outcome=outcome,
        status=200,
        error="",
        stream=False,
        usage=usage,
        cost_nano_usd=cost,
        cost_by_kind=() if cost is None else ((endpoint, cost),),
        cost_status=status,
        price_source=source,
        context_tokens=0,
        seconds=max(0.0, at - job.created_at),
        first_byte_seconds=None,
        upstream_seconds=0.0,
        organisation=job.organisation,
    )
