"""The book entry of one call: opened before anything is spent, closed exactly once."""

from collections.abc import Callable
from datetime import date

import msgspec

from gateway.core.call import Call, Principal
from gateway.core.clock import Clock, utc_day
from gateway.core.decision import Arm, Decision
from gateway.core.event import Closing, CostStatus, UsageEvent
from gateway.core.facts import Facts
from gateway.core.ids import new_id
from gateway.core.usage import Usage
from gateway.ledger.budget import Budgets
from gateway.ledger.expected import Expected
from gateway.ledger.journal import Journal
from gateway.ledger.records import DecisionRecord, Final, Intent, Progress, Void, record_of
from gateway.pricing.rates import Rates, cost_by_kind
from gateway.pricing.table import PriceTable

# Without a cap of the caller's, a reply of this many tokens is reserved for.
ASSUMED_OUTPUT = 4096
# What is set aside for a prompt: in nearly any text a token has two bytes or more, in English about four.
BYTES_PER_TOKEN_BOUND = 2
BYTES_PER_TOKEN = 4
# An SSE chunk of some 200 bytes carries about one token.
STREAM_BYTES_PER_TOKEN = 200


RETRIEVAL = "retrieval"
SHADOW = "shadow"
# Whose account it is when nobody's call is served: documents embedded, copies of calls.
OPERATOR = Principal(team="gateway", key_id="", key_name="")
# Outcomes after which the upstream may have read the prompt and may bill it.
SENT_ANYWAY = frozenset({"caller_left", "interrupted", "timeout"})


class EntryClosedError(RuntimeError):
    """Closed twice: a fault of ours that must be loud."""


class Ledger:
    """Opens entries. `observe` is called with every closed event, and with nothing else."""

    def __init__(
        self,
        journal: Journal,
        budgets: Budgets,
        prices: PriceTable,
        observe: Callable[[UsageEvent], None],
        clock: Clock,
    ) -> None:
        self.journal = journal
        self.budgets = budgets
        self.prices = prices
        self.observe = observe
        self.clock = clock
        # What sources may add to a prompt; part of what is set aside for a call on the RAG path.
        self.context_tokens = 0
        self.expected = Expected()
        # Costs closed here and not yet in the database, by team: what other processes cannot see.
        self.unshipped: dict[str, int] = {}
        # Told (call, principal, upstream, body) of each JSON reply to a route that passes through.
        self.passing: Callable[[Call, Principal, str, bytes], None] | None = None

    def open(self, call: Call, principal: Principal, decision: Decision, facts: Facts) -> "Entry":
        """An entry with the budget reserved for the dearest arm. Raises BudgetExceeded (429)."""
        ceiling = 0
        for arm in decision.arms:
            ceiling = max(ceiling, self.ceiling(call, arm, facts.today) or 0)
        reserved = self.budgets.reserve(principal.team, ceiling, facts.now)
        return Entry(self, call, principal, decision, facts, reserved)

    def open_shadow(self, call: Call, decision: Decision, facts: Facts) -> "Entry":
        """An entry for a copy of a call: the operator's, of the kind `shadow`, with no decision of its own."""
        return Entry(self, call, OPERATOR, decision, facts, 0, is_shadow=True)

    def refused(
        self, call: Call, principal: Principal, decision: Decision | None, facts: Facts | None, closing: Closing
    ) -> None:
        """Books a call that got no entry: a metric, its decision if there was one, and no usage."""
        Entry(self, call, principal, decision, facts, 0).close(closing)

    def retrieval(
        self,
        principal: Principal,
        upstream: str,
        model: str,
        tokens: int | None,
        collection: str,
        *,
        is_free: bool = False,
    ) -> None:
        """Books the embedding of a question: a row of its own, of the kind `retrieval`.

        tokens: None when the embedder did not say; the row then has neither tokens nor a cost. is_free: it was
        done on this machine, and nobody sends a bill.
        """
        usage = None if tokens is None else Usage(tokens, 0)
        wall = self.clock.wall()
        rates = None if is_free else self.prices.rates(model, utc_day(wall))
        _, cost, status = priced(rates, usage) if usage is not None else ((), None, "unpriced")
        if is_free:
            cost, status = 0, "free"
        row = new_id("emb")
        event = UsageEvent(
            id=f"{row}.1",
            call_id=row,
            attempt=1,
            last=False,
            at=wall,
            team=principal.team,
            key_id=principal.key_id,
            endpoint=RETRIEVAL,
            asked_model=model,
            path="rag",
            upstream=upstream,
            model=model,
            line=None,
            rule="",
            collections=(collection,),
            outcome="ok",
            status=200,
            error="",
            stream=False,
            usage=usage,
            cost_nano_usd=cost,
            cost_by_kind=() if cost is None else ((RETRIEVAL, cost),),
            cost_status=status,
            price_source=rates.source if rates is not None else "",
            context_tokens=0,
            seconds=0.0,
            first_byte_seconds=None,
            upstream_seconds=0.0,
        )
        self.journal.finish(Final(event))
        self.book(event)
        self.budgets.settle(principal.team, 0, cost or 0, wall)

    def book(self, event: UsageEvent, choices: int = 1) -> None:
        """Counts a closed attempt: in the metrics, and among what other processes cannot see yet."""
        if event.cost_nano_usd:
            self.unshipped[event.team] = self.unshipped.get(event.team, 0) + event.cost_nano_usd
        self.expected.learn(event, choices)
        self.observe(event)

    def ceiling(self, call: Call, arm: Arm, day: date) -> int | None:
        """What a call can cost at an arm at most, in nano-dollars; None without a price."""
        rates = self.prices.rates(arm.model, day)
        if rates is None:
            return None
        tokens_in = call.prompt_bytes // BYTES_PER_TOKEN_BOUND + 1
        if arm.path == "rag":
            tokens_in += self.context_tokens
        limit = ASSUMED_OUTPUT if call.output_limit is None else max(0, call.output_limit)
        pico = tokens_in * (rates.input or 0) + call.choices * limit * (rates.output or 0)
        return -(-pico // 1000)


class Entry:
    """One call in the books. Attempts are numbered from 1; each that sent bytes becomes one row."""

    def __init__(
        self,
        ledger: Ledger,
        call: Call,
        principal: Principal,
        decision: Decision | None,
        facts: Facts | None,
        reserved: int,
        *,
        is_shadow: bool = False,
    ) -> None:
        self.call_id = new_id("call")
        self._is_shadow = is_shadow
        self._ledger = ledger
        self._call = call
        self._principal = principal
        self._decision = decision
        self._facts = facts
        self._reserved = reserved
        self._spent = 0
        self._attempt = 0
        self._arm: Arm | None = decision.arms[0] if decision is not None and decision.arms else None
        self._started = 0.0
        self._began: float | None = None
        self._in_flight = False
        self._closed = False
        self._recorded = is_shadow
        self.context_tokens = 0

    @property
    def spent_nano_usd(self) -> int:
        """What the attempts up to now have cost, as far as it is known."""
        return self._spent

    @property
    def attempt_id(self) -> str:
        """The id of the attempt in flight, unique for ever."""
        return f"{self.call_id}.{self._attempt}"

    @property
    def closed(self) -> bool:
        """Whether the call's end is booked."""
        return self._closed

    def start(self, arm: Arm, context_tokens: int = 0) -> None:
        """Journals that an attempt is about to be sent. Raises AccountingUnavailable (503): then it must not be."""
        self._attempt += 1
        self._arm = arm
        self._started = self._ledger.clock.monotonic()
        self._began = self._ledger.clock.wall()
        self.context_tokens = context_tokens
        estimate = Usage(self._input_estimate(), 0, source="estimated")
        # Not priced here: whoever finds it an orphan does that, and nearly no intent becomes one.
        orphan = self._event(Closing("interrupted", 0, "interrupted", estimate), last=True, pricing=False)
        self._ledger.journal.append(Intent(orphan, self._record()))
        self._recorded = True
        self._in_flight = True

    def progress(self, passed_bytes: int) -> None:
        """Notes how much of a stream has passed."""
        self._ledger.journal.note(Progress(self.attempt_id, passed_bytes))

    def void(self) -> None:
        """The attempt sent nothing: it leaves no row."""
        self._ledger.journal.append(Void(self.attempt_id))
        self._in_flight = False

    def fail(self, closing: Closing) -> None:
        """Books an attempt that failed while the call goes on with another."""
        self._in_flight = False
        event = self._event(closing, last=False)
        self._ledger.journal.finish(Final(event))
        self._account(event)

    def passed(self, upstream: str, body: bytes) -> None:
        """Shows a whole reply to whoever looks after jobs at upstreams."""
        if self._ledger.passing is not None:
            self._ledger.passing(self._call, self._principal, upstream, body)

    def closing_of_prompt(self, closing: Closing) -> Closing:
        """The same with the prompt as its estimated usage: it was sent, and may be billed."""
        return msgspec.structs.replace(closing, usage=self.estimate(0))

    def close(self, closing: Closing) -> UsageEvent:
        """Books the end of the call, once. Raises EntryClosedError the second time."""
        if self._closed:
            raise EntryClosedError(self.call_id)
        self._closed = True
        if not self._in_flight:
            self._attempt, self._began = 0, None
        elif closing.usage is None and closing.outcome in SENT_ANYWAY:
            closing = self.closing_of_prompt(closing)
        event = self._event(closing, last=True)
        if self._in_flight or closing.outcome == "ok":
            self._ledger.journal.finish(Final(event, None if self._recorded else self._record()))
        elif self._decision is not None and not self._recorded:
            self._ledger.journal.note(Final(event, self._record()))
        self._account(event)
        self._ledger.budgets.settle(self._principal.team, self._reserved, self._spent, event.at)
        return event

    def estimate(self, output_tokens: int) -> Usage:
        """A usage for a reply that brought none: the prompt by its bytes, the output as counted."""
        return Usage(self._input_estimate(), output_tokens, source="estimated")

    def _input_estimate(self) -> int:
        return self._call.prompt_tokens_estimate + self.context_tokens

    def _account(self, event: UsageEvent) -> None:
        self._spent += event.cost_nano_usd or 0
        self._ledger.book(event, self._call.choices)

    def _event(self, closing: Closing, *, last: bool, pricing: bool = True) -> UsageEvent:
        clock, call, arm = self._ledger.clock, self._call, self._arm
        now = clock.monotonic()
        at = clock.wall() if self._began is None else self._began
        usage = closing.usage
        rates = None
        if pricing and arm is not None and usage is not None:
            rates = self._ledger.prices.rates(arm.model, utc_day(at))
        kinds, cost, status = priced(rates, usage)
        if usage is None and closing.outcome == "ok" and self._may_cost():
            cost, status = None, "unpriced"
        return UsageEvent(
            id=f"{self.call_id}.{self._attempt}",
            call_id=self.call_id,
            attempt=self._attempt,
            last=last,
            at=at,
            team=self._principal.team,
            key_id=self._principal.key_id,
            endpoint=SHADOW if self._is_shadow else call.endpoint,
            asked_model=call.model,
            path=arm.path if arm is not None else "refused",
            upstream=arm.upstream if arm is not None else "",
            model=arm.model if arm is not None else call.model,
            line=arm.line if arm is not None else None,
            rule=self._decision.rule if self._decision is not None else "",
            collections=arm.collections if arm is not None else (),
            outcome=closing.outcome,
            status=closing.status,
            error=closing.error,
            stream=call.stream,
            usage=usage,
            cost_nano_usd=cost,
            cost_by_kind=kinds,
            cost_status=status,
            price_source=rates.source if rates is not None else "",
            context_tokens=self.context_tokens,
            seconds=now - call.inbound.received_monotonic,
            first_byte_seconds=closing.first_byte_seconds,
            upstream_seconds=now - self._started if self._started else 0.0,
            metadata=call.metadata,
        )

    def _may_cost(self) -> bool:
        """Whether a served call without usage may cost something: then its cost is unknown, and not 0."""
        call = self._call
        if call.endpoint != "passthrough":
            # Served upstream, and its usage was not to be read; an answer of our own has no attempt.
            return self._attempt > 0
        return call.inbound.method == "POST" and bool(call.model)

    def _record(self) -> DecisionRecord | None:
        decision, facts = self._decision, self._facts
        if decision is None or facts is None or self._recorded:
            return None
        ledger = self._ledger
        costs = ledger.expected.arm_costs(self._call, decision, ledger.prices, ledger.context_tokens, facts.today)
        return record_of(self.call_id, self._principal, decision, facts, costs)


def priced(rates: Rates | None, usage: Usage | None) -> tuple[tuple[tuple[str, int], ...], int | None, CostStatus]:
    """Cost by kind, their sum in nano-dollars, and how sure that is. No usage costs nothing; no price is None."""
    if usage is None:
        return (), 0, "free"
    kinds = cost_by_kind(rates, usage) if rates is not None else None
    if kinds is None:
        return (), None, "unpriced"
    status: CostStatus = "priced" if usage.source == "provider" else "estimated"
    return kinds, sum(nano for _, nano in kinds), status
