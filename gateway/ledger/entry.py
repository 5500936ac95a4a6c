"""The book entry of one call: opened before anything is spent, closed exactly once."""

from collections.abc import Callable
from datetime import date

import msgspec

from gateway.core.call import Call, Principal
from gateway.core.clock import Clock, utc_day
from gateway.core.decision import Arm, Decision
from gateway.core.errors import Unpriced
from gateway.core.event import Closing, UsageEvent
from gateway.core.facts import Facts
from gateway.core.grounds import Gap, Grounds
from gateway.core.ids import new_id
from gateway.core.usage import Usage
from gateway.ledger.admission import NOTHING, Admission
from gateway.ledger.durable import Durable
from gateway.ledger.expected import Expected, most_cost
from gateway.ledger.journal import Journal
from gateway.ledger.leases.lender import Lender
from gateway.ledger.leases.limits import Limits
from gateway.ledger.leases.meters import Meter
from gateway.ledger.records import DecisionRecord, Final, Intent, Progress, Void, record_of
from gateway.pricing.rates import priced, with_retrieval
from gateway.pricing.table import PriceTable

# An SSE chunk of some 200 bytes carries about one token.
STREAM_BYTES_PER_TOKEN = 200


SHADOW = "shadow"
JUDGE = "judge"
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
        durable: Durable,
        lender: Lender,
        limits: Limits,
        prices: PriceTable,
        observe: Callable[[UsageEvent], None],
        clock: Clock,
    ) -> None:
        self.journal = journal
        self.durable = durable
        self.lender = lender
        self.budgets = lender.budgets
        self.limits = limits
        self.prices = prices
        self.observe = observe
        self.clock = clock
        # What sources may add to a prompt; part of what is set aside for a call on the RAG path.
        self.context_tokens = 0
        self.expected = Expected()
        # Told of each closed attempt whose answer has grounds.
        self.grounded: Callable[[UsageEvent, Grounds], None] | None = None
        # Told (call, principal, upstream, body) of each JSON reply to a route that passes through.
        self.passing: Callable[[Call, Principal, str, bytes], None] | None = None

    def admit(self, call: Call, principal: Principal, now: float) -> Admission:
        """A call's place under the limits of its principal, before anything is looked up for it. now: Unix seconds.

        Raises RateLimited (429), and BudgetExceeded (429) when nothing is left: then not even a question is embedded.
        """
        if self.limits.is_empty and self.budgets.is_empty:
            return NOTHING
        gates = self.limits.gates(principal)
        meters = self.budgets.meters(principal, call.metadata, now)
        if not gates and not meters:
            return NOTHING
        for meter in meters:
            if meter.is_known and meter.is_over(0):
                raise meter.exceeded()
        tokens = 0
        if gates:
            tokens = call.prompt_tokens_estimate + self.expected.output_tokens(call.model, call.output_limit)
            self.limits.enter(gates, tokens, self.clock.monotonic())
        return Admission(self.limits, gates, meters, tokens, self.budgets.used_ratio(meters))

    async def open(
        self,
        call: Call,
        principal: Principal,
        decision: Decision,
        facts: Facts,
        admission: Admission = NOTHING,
        permitted: tuple[Arm, ...] | None = None,
    ) -> "Entry":
        """An entry with the budgets reserved for the dearest arm.

        permitted: the arms that the caller's key may take; None for all of the decision's. Raises BudgetExceeded (429),
        BudgetUnverifiable (503), and Unpriced (403) when a hard budget is to keep what has no price within it.
        """
        arms = decision.arms if permitted is None else permitted
        meters, ceiling = admission.meters, 0
        if meters:
            arms, ceiling = self._payable(call, arms, facts.today, meters)
            if self.budgets.reserve(meters, ceiling) is not None:
                await self.lender.reserve(meters, ceiling)
        return Entry(self, call, principal, decision, facts, ceiling, admission=admission, arms=arms)

    def _payable(
        self, call: Call, arms: tuple[Arm, ...], day: date, meters: tuple[Meter, ...]
    ) -> tuple[tuple[Arm, ...], int]:
        """The arms that may be taken under these budgets, and the most that one of them can cost."""
        ceilings = [(arm, self.ceiling(call, arm, day)) for arm in arms]
        if call.may_cost and any(meter.rule.is_hard for meter in meters):
            if ceilings and ceilings[0][1] is None:
                raise Unpriced(
                    f"Model {arms[0].model!r} has no price, so its cost cannot be kept within a budget. "
                    "Add it to policies/prices.yaml (0 for a model of your own that costs nothing)."
                )
            ceilings = [pair for pair in ceilings if pair[1] is not None]
        return tuple([arm for arm, _ in ceilings]), max([most or 0 for _, most in ceilings], default=0)

    def open_beside(self, call: Call, decision: Decision, facts: Facts, kind: str) -> "Entry":
        """An entry for what is asked beside a call, such as its copy: the operator's, with no decision of its own.

        kind: `shadow` or `judge`; it stands where the endpoint would.
        """
        return Entry(self, call, OPERATOR, decision, facts, 0, kind=kind)

    def refused(
        self,
        call: Call,
        principal: Principal,
        decision: Decision | None,
        facts: Facts | None,
        closing: Closing,
        admission: Admission = NOTHING,
    ) -> None:
        """Books a call that got no entry: a metric, its decision if there was one, and no usage."""
        Entry(self, call, principal, decision, facts, 0, admission=admission).close(closing)

    def book(self, event: UsageEvent, choices: int = 1) -> None:
        """Counts a closed attempt in the metrics, and learns from it."""
        self.expected.learn(event, choices)
        self.observe(event)

    def ceiling(self, call: Call, arm: Arm, day: date) -> int | None:
        """What a call can cost at an arm at most, in nano-dollars; None without a price."""
        most = most_cost(self.prices.rates(arm.model, day), call, arm, self.context_tokens)
        others = [arm.successor, arm.terms.store_down if arm.terms is not None else None]
        for other in others if most is not None else ():
            dear = 0 if other is None else self.ceiling(call, other, day)
            most = None if most is None or dear is None else max(most, dear)
        return most


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
        kind: str = "",
        admission: Admission = NOTHING,
        arms: tuple[Arm, ...] = (),
    ) -> None:
        self.call_id = call.inbound.call_id or new_id("call")
        # A judgement is an amount of the call that it judges.
        self._row = f"{self.call_id}.{kind}" if kind == JUDGE else self.call_id
        # Those of the decision that may be taken under the caller's budgets.
        self.arms = arms
        self._admission = admission
        self._kind = kind
        self._ledger = ledger
        self._call = call
        self._principal = principal
        self._decision = decision
        self._facts = facts
        self._reserved = reserved
        self._spent = 0
        self._tokens = 0
        self._attempt = 0
        self._arm: Arm | None = decision.arms[0] if decision is not None and decision.arms else None
        self._started = 0.0
        self._began: float | None = None
        self._intent: Intent
        self._in_flight = False
        self._closed = False
        self._recorded = bool(kind)
        self.context_tokens = 0
        self._noted: Callable[[], Grounds] | None = None
        self._grounds: Callable[[], Grounds] | None = None
        self._gap: Gap | None = None

    @property
    def spent_nano_usd(self) -> int:
        """What the attempts up to now have cost, as far as it is known."""
        return self._spent

    @property
    def attempt_id(self) -> str:
        """The id of the attempt in flight, unique for ever."""
        return f"{self._row}.{self._attempt}"

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
        self._grounds, self._noted = self._noted, None
        self._intent = Intent(
            orphan, self._record(), None if self._grounds is None else self._stands_on().before_the_answer()
        )
        self._ledger.journal.append(self._intent)
        self._recorded = True
        self._in_flight = True

    def note(self, grounds: Callable[[], Grounds]) -> None:
        """What the next attempt's answer, or an answer of our own, will stand on. A gap belongs to the whole call."""
        if self._kind:
            return
        self._noted = grounds
        self._gap = grounds().gap or self._gap

    @property
    def waits(self) -> bool:
        """Whether the intent must still become durable after `start`: then `durable` is to be awaited."""
        return self._ledger.durable.waits

    async def durable(self) -> None:
        """Returns when the intent is durable. Raises AccountingUnavailable (503): then nothing may be sent."""
        try:
            await self._ledger.durable.settled(self._intent)
        except BaseException:
            self.void()
            raise

    def progress(self, passed_bytes: int) -> None:
        """Notes how much of a stream has passed."""
        self._ledger.journal.note(Progress(self.attempt_id, passed_bytes))

    def void(self) -> None:
        """The attempt sent nothing: it leaves no row."""
        self._in_flight = False
        self._ledger.journal.append(Void(self.attempt_id))

    def fail(self, closing: Closing) -> None:
        """Books an attempt that failed while the call goes on with another."""
        self._in_flight = False
        event = self._event(closing, last=False)
        # Nobody reads this answer; what was looked for in vain stays true.
        gap = None if self._gap is None else Grounds(gap=self._gap)
        self._ledger.journal.finish(Final(event, None, gap))
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
            self._grounds = self._noted
        elif closing.usage is None and closing.outcome in SENT_ANYWAY:
            closing = self.closing_of_prompt(closing)
        event = self._event(closing, last=True)
        grounds = None
        if self._grounds is not None or self._gap is not None:
            grounds = self._closing_grounds(closing)
        if self._in_flight or closing.outcome == "ok" or grounds is not None:
            self._ledger.journal.finish(Final(event, None if self._recorded else self._record(), grounds))
        elif self._decision is not None and not self._recorded:
            self._ledger.journal.note(Final(event, self._record()))
        self._account(event)
        if grounds is not None and self._ledger.grounded is not None:
            self._ledger.grounded(event, grounds)
        if self._reserved:
            self._ledger.budgets.release(self._admission.meters, self._reserved)
        if self._admission is not NOTHING:
            self._admission.leave(self._tokens)
        return event

    def _stands_on(self) -> Grounds:
        """What is known of it now; what it cites shows with its words."""
        found = Grounds() if self._grounds is None else self._grounds()
        return msgspec.structs.replace(found, gap=self._gap or found.gap)

    def _closing_grounds(self, closing: Closing) -> Grounds:
        found = self._stands_on()
        gave_nothing = closing.outcome == "upstream_error" and closing.first_byte_seconds is None
        return Grounds(gap=found.gap) if gave_nothing else found

    def estimate(self, output_tokens: int) -> Usage:
        """A usage for a reply that brought none: the prompt by its bytes, the output as counted."""
        return Usage(self._input_estimate(), output_tokens, source="estimated")

    def _input_estimate(self) -> int:
        return self._call.prompt_tokens_estimate + self.context_tokens

    def _account(self, event: UsageEvent) -> None:
        cost = event.cost_nano_usd or 0
        self._spent += cost
        if event.usage is not None:
            self._tokens += event.usage.input_tokens + event.usage.output_tokens
        if self._admission.meters:
            self._ledger.budgets.charge(self._admission.meters, cost)
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
        context = self.context_tokens
        if context:
            kinds, context = with_retrieval(kinds, context, usage)
        if usage is None and closing.outcome == "ok" and self._may_cost():
            cost, status = None, "unpriced"
        return UsageEvent(
            id=f"{self._row}.{self._attempt}",
            call_id=self.call_id,
            attempt=self._attempt,
            last=last,
            at=at,
            team=self._principal.team,
            key_id=self._principal.key_id,
            endpoint=self._kind or call.endpoint,
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
            context_tokens=context,
            seconds=now - call.inbound.received_monotonic,
            first_byte_seconds=closing.first_byte_seconds,
            upstream_seconds=now - self._started if self._started else 0.0,
            metadata=call.metadata,
            organisation=self._principal.organisation,
            pools=self._admission.pools,
        )

    def _may_cost(self) -> bool:
        """Whether a served call without usage may cost something: then its cost is unknown, and not 0."""
        # Served upstream, and its usage was not to be read; an answer of our own has no attempt.
        return self._call.may_cost and (self._attempt > 0 or self._call.endpoint == "passthrough")

    def _record(self) -> DecisionRecord | None:
        decision, facts = self._decision, self._facts
        if decision is None or facts is None or self._recorded:
            return None
        ledger = self._ledger
        costs = ledger.expected.arm_costs(self._call, decision, ledger.prices, ledger.context_tokens, facts.today)
        return record_of(self.call_id, self._principal, decision, facts, costs)
