"""Canaries of lines: what all processes saw of them, judged each second, taken back when the challenger is worse."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from gateway.core.clock import Clock
from gateway.core.errors import Conflict, GatewayError
from gateway.db.engine import Database
from gateway.ledger.reports.store import ReportStore
from gateway.ledger.webhooks.store import WebhookStore
from gateway.policy.load import Rulebook
from gateway.policy.tuning_file import ANYBODY
from gateway.registry import Registry
from gateway.tuning.feedback.store import FeedbackStore
from gateway.tuning.feedback.values import Rated
from gateway.tuning.lines.store import Trials
from gateway.tuning.lines.values import Line, Seen, Standing, TrialKey
from gateway.tuning.sequential import Counts, Evidence, evidence
from gateway.tuning.trials import Tally

ACTOR = "canary"
LOOK_SECONDS = 1.0
# A share this much greater is no reason to take a canary back.
TOLERANCE = 0.0
# With so many calls of each and no measure that is this much worse, a promotion is proposed.
ENOUGH_CALLS = 500
MARGIN = 0.02
# What usual replies take is looked up in the canary's first minute or not at all: the bound must not hang on what it
# measures. Of fewer replies nothing is usual.
BOUND_SECONDS = 60.0
LEAST_REPLIES = 100
USUAL_DAYS = 7
SLOWEST = 0.95

log = logging.getLogger("gateway.canaries")
# (line, version, since) -> what was said of its answers to calls from that Unix time on.
Negative = Callable[[str, int, float], Awaitable[Rated]]


class Canaries:
    """Hands on what this process counts, and on one worker judges. rolled_back: told of each line that was."""

    def __init__(
        self,
        tally: Tally,
        database: Database,
        registry: Registry,
        rulebook: Callable[[], Rulebook],
        clock: Clock,
        rolled_back: Callable[[str], None],
    ) -> None:
        self.trials = Trials(database)
        self._tally = tally
        self._database = database
        self._reports = ReportStore(database)
        self._registry = registry
        self._webhooks = WebhookStore(database)
        self._negative = FeedbackStore(database).negative
        self._rulebook = rulebook
        self._clock = clock
        self._rolled_back = rolled_back

    def work(self, *, judges: bool) -> Callable[[], Any]:
        """What is to run for as long as the process does."""

        async def run() -> None:
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                await self.look(judges=judges)

        return run

    async def look(self, *, judges: bool) -> None:
        """Keeps what was counted, and judges the canaries that run. Raises the database's error when it is away."""
        await self.flush()
        running = self.running()
        if not running:
            self._tally.slow_seconds = {}
            return
        standing = [one for one in await self.standing() if one.key in running]
        self._tally.slow_seconds = {one.key: one.slow_seconds for one in standing if one.slow_seconds is not None}
        for one in standing if judges else ():
            await self._judge(one)

    async def standing(self) -> list[Standing]:
        """How each canary stands, with what callers said of its answers."""
        return [await with_ratings(one, self._negative) for one in await self.trials.standing()]

    def running(self) -> set[TrialKey]:
        """The canaries that the policy in force has."""
        return {
            TrialKey(name, line.champion, line.challenger)
            for name, line in self._rulebook().models.lines.items()
            if line.canary and line.challenger is not None and line.challenger != line.champion
        }

    async def flush(self) -> None:
        """Adds what this process has counted to what all have."""
        taken = self._tally.take()
        if not taken:
            return
        is_kept = False
        try:
            await self.trials.add(taken, self._clock.wall())
            is_kept = True
        finally:
            if not is_kept:
                self._tally.give_back(taken)

    async def _judge(self, one: Standing) -> None:
        worse = [measure for measure in evidence_of(one) if measure.suffices]
        if worse:
            with contextlib.suppress(Conflict):
                await self._roll_back(one, worse)
            return
        now = self._clock.wall()
        if one.held_at is None and holds(one):
            await self.trials.note(one.key, held_at=now)
            log.info("canary_held", extra={"fields": told(one)})
            await self._tell_held(one)
        if one.slow_seconds is None and now - one.began_at < BOUND_SECONDS:
            await self._bound(one.key, now)

    async def _roll_back(self, one: Standing, worse: list[Evidence]) -> None:
        """Ends a canary, with everybody told who wants to be. Raises Conflict when somebody else changed the line."""
        reason = f"v{one.key.challenger} did worse than v{one.key.champion} in {', '.join(w.measure for w in worse)}"

        async def tell(session: Any, line: Line) -> None:
            await self._message(session, f"canary:{line.name}:{line.revision}", "line.canary_rolled_back", one, reason)

        try:
            await self._registry.canary(one.key.line, None, 0.0, ACTOR, reason, tell)
        except Conflict:
            raise
        except GatewayError as fault:
            log.exception("canary_not_rolled_back", extra={"fields": told(one) | {"error": fault.message}})
            return
        self._rolled_back(one.key.line)
        log.error("canary_rolled_back", extra={"fields": told(one) | {"reason": reason}})

    async def _tell_held(self, one: Standing) -> None:
        reason = f"v{one.key.challenger} did no worse than v{one.key.champion}; promoting it is for people to say"
        fact = f"canary:{one.key.line}:{one.key.champion}:{one.key.challenger}:{one.began_at}:held"
        async with self._database.session() as session:
            await self._message(session, fact, "line.canary_held", one, reason)

    async def _message(self, session: Any, fact: str, kind: str, one: Standing, reason: str) -> None:
        hooks = self._rulebook().tuning.webhooks
        teams = set(self._rulebook().models.lines[one.key.line].teams)
        data = {"line": one.key.line, "champion": one.key.champion, "challenger": one.key.challenger, "reason": reason}
        body = msgspec.json.encode(
            {"id": f"evt_{fact}", "object": "event", "type": kind, "created_at": int(self._clock.wall()), "data": data}
        ).decode()
        for hook in hooks:
            if ANYBODY in hook.teams or not teams or teams & set(hook.teams):
                await self._webhooks.add(session, fact, hook.url, body)

    async def _bound(self, key: TrialKey, now: float) -> None:
        champion = self._rulebook().models.lines[key.line].versions[key.champion - 1].id
        seconds = sorted(await self._reports.upstream_seconds(champion, now - USUAL_DAYS * 86_400, now))
        if len(seconds) >= LEAST_REPLIES:
            await self.trials.note(key, slow_seconds=seconds[int(SLOWEST * len(seconds))])


async def with_ratings(one: Standing, negative: Negative) -> Standing:
    """The same with what callers said of calls that champion and challenger answered since the canary began."""
    rated = [await negative(one.key.line, number, one.began_at) for number in (one.key.champion, one.key.challenger)]
    theirs, ours = (Seen(rated=said.calls, disliked=said.negatives) for said in rated)
    return msgspec.structs.replace(one, champion=one.champion.plus(theirs), challenger=one.challenger.plus(ours))


def evidence_of(one: Standing) -> tuple[Evidence, ...]:
    """What each measure says against a challenger being no worse."""
    is_json = mostly_json(one.champion)
    return evidence(counts_of(one.champion, is_json=is_json), counts_of(one.challenger, is_json=is_json), TOLERANCE)


def mostly_json(seen: Seen) -> bool:
    """Whether most answers are JSON though nobody asks for it: then one that is not is of another form."""
    return seen.plain_json * 2 > seen.plain


def counts_of(seen: Seen, *, is_json: bool) -> Counts:
    """What was seen, as the sequential test takes it. is_json: answers are to be JSON also where nobody asks."""
    formed, malformed = seen.formed, seen.malformed
    if is_json:
        formed, malformed = formed + seen.plain, malformed + seen.plain - seen.plain_json
    return Counts(seen.calls, seen.errors, formed, malformed, seen.rated, seen.disliked, seen.slow)


def holds(one: Standing) -> bool:
    """Whether a canary has had enough calls and is worse in no measure by more than a margin."""
    if min(one.champion.calls, one.challenger.calls) < ENOUGH_CALLS:
        return False
    is_json = mostly_json(one.champion)
    theirs = counts_of(one.champion, is_json=is_json).shares()
    ours = counts_of(one.challenger, is_json=is_json).shares()
    return all(
        not of or not theirs[measure][1] or wrong / of <= theirs[measure][0] / theirs[measure][1] + MARGIN
        for measure, (wrong, of) in ours.items()
    )


def told(one: Standing) -> dict[str, Any]:
    """A canary as logs and reports have it."""
    return {
        "line": one.key.line,
        "champion": one.key.champion,
        "challenger": one.key.challenger,
        "seen": {"champion": msgspec.to_builtins(one.champion), "challenger": msgspec.to_builtins(one.challenger)},
    }
