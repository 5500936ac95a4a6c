"""Evaluates the items of runs in the background, a bounded number at once, and goes on where a dead process was."""

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable

import msgspec

from gateway.core.answered import Answered, Ask
from gateway.core.call import Principal
from gateway.core.clock import Clock
from gateway.core.errors import GatewayError, InvalidRequest
from gateway.core.values import Value
from gateway.db.away import told_when_away
from gateway.tuning.evals.data_source import read_data_source
from gateway.tuning.evals.evaluating import Plan, evaluated, gone_wrong, read_outcome, tallies_of
from gateway.tuning.evals.items.store import ItemStore, Key
from gateway.tuning.evals.runs.store import RunStore
from gateway.tuning.evals.values import Outcome, Work
from gateway.tuning.evals.written import read_criteria
from gateway.tuning.graders.replies import fault_of, read_fault
from gateway.wire.json_object import read_object, write_object

# More at once would compete with calls that somebody waits for.
AT_ONCE = 8
# Claimed in one transaction; more would wait here while another process has nothing to do.
CLAIMED_AT_ONCE = 16
HOLD_SECONDS = 10.0
# Whoever begins a run wakes the runner of its own process; this is for what a dead process left.
LOOK_SECONDS = 2.0
AGAIN_SECONDS = 1.0
LONGEST_SECONDS = 60.0
# Between a run that is begun and the end of an upstream's bad minutes.
MOST_TRIES = 8
MOST_PLANS = 64
# What another try may mend. A spent budget is none of them: it ends the run.
AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
SPENT = "insufficient_quota"
KEPT = "evals"
NO_ROWS = b'{"type":"file_id","id":"read"}'
UNFINISHED = "evaluation_failed"
NO_KEY = ("invalid_api_key", "The API key that began this run was revoked or has expired.")

log = logging.getLogger("gateway.tuning")

Asking = Callable[[Principal], Ask]
Good = Callable[[Principal, float], bool]
_principal = msgspec.json.Decoder(Principal)


class TryAgain(Exception):
    """A reply that another try may mend."""


class Spent(Exception):
    """The team's budget is used up."""


class Planned(Value, frozen=True):
    """A run as its items need it. since: when it was begun, in Unix seconds."""

    plan: Plan
    principal: Principal
    since: float


class Runner:
    """One per process. asking: how models are asked for a principal. is_good: whether its key still is one."""

    def __init__(self, runs: RunStore, items: ItemStore, asking: Asking, clock: Clock, is_good: Good) -> None:
        self._runs = runs
        self._items = items
        self._asking = asking
        self._clock = clock
        self._is_good = is_good
        self._woken = asyncio.Event()
        self._waiting: deque[Work] = deque()
        self._working: dict[Key, asyncio.Task[None]] = {}
        self._plans: dict[str, Planned | None] = {}

    def wake(self) -> None:
        """There is something to evaluate."""
        self._woken.set()

    async def run(self) -> None:
        """Evaluates for ever. A database that is away is waited for: what is at work goes on meanwhile."""
        keeping = asyncio.create_task(self._keep())
        try:
            while True:
                self._woken.clear()
                with contextlib.suppress(GatewayError), told_when_away(KEPT):
                    await self._take()
                with contextlib.suppress(TimeoutError):
                    # Not `wait_for`: before Python 3.12 it can swallow a cancellation in the moment of waking.
                    async with asyncio.timeout(LOOK_SECONDS):
                        await self._woken.wait()
        finally:
            held = {*self._working, *map(_key, self._waiting)}
            ending = [keeping, *self._working.values()]
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)
            await self._let_go(held)

    async def _take(self) -> None:
        """Fills the places that are free."""
        if not self._waiting:
            self._waiting.extend(await self._items.claim(self._clock.wall(), HOLD_SECONDS, CLAIMED_AT_ONCE))
            if not self._waiting:
                # In a transaction after the last item's own: of two that end at once, the later one sees both.
                await self._runs.settle()
        while self._waiting and len(self._working) < AT_ONCE:
            self._begin(self._waiting.popleft())

    def _begin(self, work: Work) -> None:
        key = _key(work)
        task = asyncio.create_task(self._evaluate(work), name="eval-item")
        self._working[key] = task

        def ended(done: asyncio.Task[None]) -> None:
            if self._working.get(key) is done:
                del self._working[key]
            if not done.cancelled() and done.exception() is not None:
                # Its hold ends by itself; then it is tried again, a few times.
                log.error("eval_item_failed", exc_info=done.exception(), extra={"fields": {"run": work.run_id}})
            self._woken.set()

        task.add_done_callback(ended)

    async def _keep(self) -> None:
        """Holds what is at work, and stops what nobody wants any more: of a run that was canceled or deleted."""
        while True:
            await asyncio.sleep(HOLD_SECONDS / 10)
            working = dict(self._working)
            held = {*working, *map(_key, self._waiting)}
            try:
                with told_when_away(KEPT):
                    wanted = await self._items.hold(held, self._clock.wall() + HOLD_SECONDS)
            except GatewayError:
                continue
            for key in working.keys() - wanted:
                working[key].cancel()
            unwanted = held - wanted
            self._waiting = deque(work for work in self._waiting if _key(work) not in unwanted)

    async def _let_go(self, held: set[Key]) -> None:
        """Leaves what was at work to the next process, which need not wait for a hold to end."""
        self._working.clear()
        self._waiting.clear()
        self._plans.clear()
        with contextlib.suppress(GatewayError), told_when_away(KEPT):
            await self._items.hold(held, self._clock.wall())

    async def _evaluate(self, work: Work) -> None:
        key = _key(work)
        try:
            planned = await self._planned(work.run_id)
        except InvalidRequest as fault:
            # Written for a version that took it: no try of ours will mend that.
            told_why = fault.message
            await self._written(lambda: self._runs.end(work.run_id, "failed", InvalidRequest.code, told_why))
            return
        if planned is None:
            return
        if not self._is_good(planned.principal, planned.since):
            await self._written(lambda: self._runs.end(work.run_id, "failed", *NO_KEY))
            return
        outcome = read_outcome(work.outcome)
        if work.tries > MOST_TRIES:
            told = gone_wrong(outcome, UNFINISHED, f"It could not be evaluated in {MOST_TRIES} tries.")
            await self._finish(key, told)
            return

        async def note(found: Outcome) -> None:
            nonlocal outcome
            outcome = found
            await self._written(lambda: self._items.note(key, _text(found)))

        is_last = work.tries >= MOST_TRIES
        ask = asked_patiently(self._asking(planned.principal), is_last=is_last)
        try:
            outcome = await evaluated(work, planned.plan, ask, note)
        except TryAgain:
            pause = min(AGAIN_SECONDS * 2.0 ** (work.tries - 1), LONGEST_SECONDS)
            pause *= random.uniform(0.8, 1.2)  # noqa: S311  # a spread, not a secret
            await self._written(lambda: self._items.later(key, self._clock.wall() + pause))
            return
        except Spent as spent:
            told_why = str(spent)
            await self._written(lambda: self._runs.end(work.run_id, "failed", SPENT, told_why))
            return
        await self._finish(key, outcome)

    async def _finish(self, key: Key, outcome: Outcome) -> None:
        sums = tallies_of(outcome)
        await self._written(lambda: self._items.finish(key, outcome.status, _text(outcome), sums))

    async def _written(self, write: Callable[[], Awaitable[object]]) -> None:
        """Writes, and waits for a database that is away: what was paid for is not thrown away."""
        while True:
            try:
                with told_when_away(KEPT):
                    await write()
            except GatewayError:
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return

    async def _planned(self, run_id: str) -> Planned | None:
        if run_id not in self._plans:
            if len(self._plans) >= MOST_PLANS:
                self._plans.clear()
            found = await self._runs.planned(run_id)
            if found is None:
                return None
            run, made = found
            plan = Plan(read_data_source(without_rows(run.data_source)), read_criteria(made.testing_criteria))
            self._plans[run_id] = Planned(plan, _principal.decode(run.principal), run.created_at)
        return self._plans[run_id]


def without_rows(data_source: str) -> bytes:
    """A run's data source as its plan needs it: rows that were sent inline are items by now, and some MiB of JSON."""
    return write_object({**read_object(data_source.encode()), "source": NO_ROWS})


def asked_patiently(ask: Ask, *, is_last: bool) -> Ask:
    """The same, raising TryAgain for a reply that another try may mend, unless this is the last, and Spent."""

    async def patiently(path: str, body: bytes) -> Answered:
        reply = await ask(path, body)
        if reply.status == 429 and read_fault(reply).code == SPENT:
            raise Spent(fault_of(reply))
        if reply.status in AGAIN and not is_last:
            raise TryAgain
        return reply

    return patiently


def _key(work: Work) -> Key:
    return work.run_id, work.number


def _text(outcome: Outcome) -> str:
    return msgspec.json.encode(outcome).decode()
