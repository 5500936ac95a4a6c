"""Captured calls and feedback of one process: all their parts."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from gateway.capturing import Capturing
from gateway.core.clock import DAY_SECONDS, Clock
from gateway.core.errors import GatewayError
from gateway.db.away import told_when_away
from gateway.db.engine import Database
from gateway.http.local.feedback import Answer, SaidOfAnswers
from gateway.http.local.surface import Also
from gateway.ledger.served.store import ServedCalls
from gateway.metrics.observe import Observer
from gateway.policy.load import Rulebook
from gateway.tuning.captured.store import CapturedCalls
from gateway.tuning.datasets.redaction import redacted
from gateway.tuning.feedback.store import FeedbackStore

# Of words that a team said of answers without having its calls kept.
KEPT_DAYS = 365
FORGET_SECONDS = 3_600.0


class Captured:
    """capturing: what calls are heard by. also: what answers requests. works: what is to run beside the calls."""

    def __init__(
        self, database: Database, observer: Observer, rulebook: Callable[[], Rulebook], clock: Clock, *, sweeps: bool
    ) -> None:
        self._calls = CapturedCalls(database)
        self._served = ServedCalls(database)
        self._rulebook = rulebook
        self._clock = clock
        self.capturing = Capturing(self._calls, rulebook, observer.captured, clock, sweeps=sweeps)
        self._feedback = FeedbackStore(database)
        said = SaidOfAnswers(self._feedback, self._find, self._redacted, observer.told, clock)
        self.also: dict[str, Also] = {"feedback": said.serve}
        works: tuple[tuple[str, Callable[[], Coroutine[Any, Any, None]]], ...] = (("capturing", self.capturing.run),)
        self.works = (*works, ("feedback", self._forget)) if sweeps else works

    async def stop(self) -> None:
        """Writes down what was heard last, if the database is there."""
        with contextlib.suppress(GatewayError), told_when_away("captured calls"):
            await self.capturing.write()

    async def _forget(self) -> None:
        """Takes the words out of old feedback, for ever: after a team's own days, of others after a year."""
        while True:
            now = self._clock.wall()
            for team, terms in self.capturing.terms.items():
                await self._feedback.forget(now - terms.days * DAY_SECONDS, team)
            await self._feedback.forget(now - KEPT_DAYS * DAY_SECONDS)
            await asyncio.sleep(FORGET_SECONDS)

    async def _find(self, kind: str, identity: str) -> Answer | None:
        if kind == "response_id":
            call = await self._calls.find(identity, self._clock.wall())
            if call is None or call.response_id != identity:
                return None
            return Answer(call.id, call.decision_id, call.team, call.at, call.line, call.version, call.model)
        served = await self._served.find(identity)
        if served is None or identity != (served.call_id if kind == "call_id" else served.decision_id):
            return None
        version = self._version(served.line, served.model)
        return Answer(served.call_id, served.decision_id, served.team, served.at, served.line, version, served.model)

    def _version(self, line: str | None, model: str) -> int | None:
        """The number of the line's version whose model that is; None for one that is no version any more."""
        entry = self._rulebook().models.lines.get(line or "")
        if entry is None:
            return None
        return next((number for number, one in enumerate(entry.versions, 1) if one.id == model), None)

    def _redacted(self, team: str, texts: tuple[str, ...]) -> tuple[str, ...]:
        terms = self.capturing.terms.get(team)
        if terms is not None and not terms.redact:
            return texts
        after = redacted({str(place): text for place, text in enumerate(texts)})
        return tuple(str(after[str(place)]) for place in range(len(texts)))
