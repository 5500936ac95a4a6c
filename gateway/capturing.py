"""Calls of teams that opted in, kept with their words: heard on their way to the caller, written down after it.

Nothing here runs for another team, and nothing before the caller's last byte but remembering what went to it. The words
wait in memory and not in the journal, so that what is to be redacted never lies on a disk as it came; a process that is
killed loses what it heard in its last second.
"""

import asyncio
import random
import re
from collections.abc import Callable, Mapping

import msgspec

from gateway.core.call import Call, Headers, Principal
from gateway.core.clock import DAY_SECONDS, Clock
from gateway.core.decision import Arm, Decision
from gateway.core.values import Value
from gateway.policy.load import Rulebook
from gateway.policy.teams_file import CaptureEntry
from gateway.relay import Caller
from gateway.tuning.captured.store import CapturedCalls
from gateway.tuning.captured.values import CapturedCall
from gateway.tuning.datasets.redaction import redacted
from gateway.wire.assembled import ENDPOINTS, Exchanged, exchanged

EVERY_SECONDS = 1.0
SWEEP_SECONDS = 60.0
# Of a request, and of its whole answer: a longer call is no example to train on.
MOST_BYTES = 256 * 1024
# Of a reply as it comes: a stream has some 200 bytes for each token.
MOST_REPLY_BYTES = 16 * MOST_BYTES
# Of all calls that wait to be written. A database that is away for longer costs the calls after that.
MOST_WAITING_BYTES = 64 * 1024 * 1024
ROWS_AT_ONCE = 100

_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")

Observe = Callable[[str, str], None]


class Heard:
    """The caller's end of a call that is kept: passes everything on, and remembers it up to a bound."""

    __slots__ = ("_caller", "_parts", "call", "principal", "size", "status", "terms")

    def __init__(self, call: Call, principal: Principal, caller: Caller, terms: CaptureEntry) -> None:
        self._caller = caller
        self._parts: list[bytes] = []
        self.call = call
        self.principal = principal
        self.terms = terms
        self.size = 0
        self.status = 0

    @property
    def left(self) -> bool:
        """Whether the caller has gone."""
        return self._caller.left

    @property
    def body(self) -> bytes:
        """What went to the caller."""
        return b"".join(self._parts)

    def patience(self, seconds: float) -> None:
        """How long the upstream may go on after the caller has left."""
        self._caller.patience(seconds)

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """Gives a whole reply."""
        self.status = status
        self._remember(body)
        await self._caller.whole(status, headers, body)

    async def start(self, status: int, headers: Headers) -> None:
        """Gives the head of a reply whose body follows in parts."""
        self.status = status
        await self._caller.start(status, headers)

    async def write(self, data: bytes) -> None:
        """Gives a part."""
        self._remember(data)
        await self._caller.write(data)

    async def end(self) -> None:
        """Ends the body."""
        await self._caller.end()

    def _remember(self, data: bytes) -> None:
        self.size += len(data)
        if self.size <= MOST_REPLY_BYTES:
            self._parts.append(data)
        else:
            self._parts.clear()


class _Waiting(Value, frozen=True):
    """A call that is to be written down."""

    call: Call
    principal: Principal
    decision: Decision
    arm: Arm
    terms: CaptureEntry
    status: int
    body: bytes
    at: float

    @property
    def size(self) -> int:
        return len(self.body) + len(self.call.inbound.body)


class Capturing:
    """One per process. terms: by team, of those that opted in. observe: told (team, result) of each call heard."""

    def __init__(
        self, store: CapturedCalls, rulebook: Callable[[], Rulebook], observe: Observe, clock: Clock, *, sweeps: bool
    ) -> None:
        self._store = store
        self._rulebook = rulebook
        self._observe = observe
        self._clock = clock
        self._sweeps = sweeps
        self._waiting: list[_Waiting] = []
        self._size = 0
        self._rows: list[CapturedCall] = []
        self._next_sweep = 0.0
        self.terms: Mapping[str, CaptureEntry] = terms_of(rulebook())

    def heard(self, call: Call, principal: Principal, caller: Caller) -> Heard | None:
        """What listens to a call of a team that opted in; None for one that the draw leaves out."""
        terms = self.terms[principal.team]
        is_drawn = terms.share >= 1 or random.random() < terms.share  # noqa: S311  # a share, not a secret
        return Heard(call, principal, caller, terms) if is_drawn and call.endpoint in ENDPOINTS else None

    def keep(self, heard: Heard, decision: Decision, arm: Arm) -> None:
        """Has a call written down that was answered whole. Without an await: its caller has gone."""
        team = heard.principal.team
        if heard.size > MOST_REPLY_BYTES or len(heard.call.inbound.body) > MOST_BYTES:
            self._observe(team, "too_large")
            return
        status = 499 if heard.left else heard.status
        now = self._clock.wall()
        one = _Waiting(heard.call, heard.principal, decision, arm, heard.terms, status, heard.body, now)
        if self._size + one.size > MOST_WAITING_BYTES:
            self._observe(team, "full")
            return
        self._size += one.size
        self._waiting.append(one)

    async def run(self) -> None:
        """Writes down what was heard, each second, for ever. Raises the database's error when it is away."""
        while True:
            self.terms = terms_of(self._rulebook())
            await self.write()
            if self._sweeps and self._clock.monotonic() >= self._next_sweep:
                while await self._store.sweep(self._clock.wall()):
                    pass
                self._next_sweep = self._clock.monotonic() + SWEEP_SECONDS
            await asyncio.sleep(EVERY_SECONDS)

    async def write(self) -> None:
        """Writes down what was heard up to now; what the database does not take is kept for the next time."""
        while self._waiting or self._rows:
            if not self._rows:
                part, self._waiting = self._waiting[:ROWS_AT_ONCE], self._waiting[ROWS_AT_ONCE:]
                self._size -= sum(one.size for one in part)
                # Redaction searches every word: calls of this process shall not wait for it.
                self._rows = await asyncio.to_thread(self._made, part)
            if self._rows:
                await self._store.add(self._rows)
            for row in self._rows:
                self._observe(row.team, "kept")
            self._rows = []

    def _made(self, part: list[_Waiting]) -> list[CapturedCall]:
        rows = []
        for one in part:
            found = exchanged(one.call.endpoint, one.call.inbound.body, one.body)
            if found is not None and len(found.answer) > MOST_BYTES:
                self._observe(one.principal.team, "too_large")
                continue
            try:
                row = None if found is None else _row(one, found)
            except (RecursionError, ValueError):
                # Nested so deeply that it cannot be redacted; the others are not to be lost for it.
                row = None
            if row is None:
                self._observe(one.principal.team, "unreadable")
            else:
                rows.append(row)
        return rows


def terms_of(rulebook: Rulebook) -> Mapping[str, CaptureEntry]:
    """The teams whose calls are kept, and how."""
    return {name: entry.capture for name, entry in rulebook.teams.teams.items() if entry.capture is not None}


def _row(one: _Waiting, found: Exchanged) -> CapturedCall:
    """The call as it is stored. Redacted as one row, so that a name stands for the same value in all of it."""
    parts = {name: getattr(found, name) for name in ("messages", "answer", "tools", "response_format")}
    parts["conversation"] = msgspec.json.encode(one.call.conversation).decode()
    if one.terms.redact:
        read = {name: msgspec.json.decode(text) if text else None for name, text in parts.items()}
        after = redacted(read)
        parts = {name: msgspec.json.encode(after[name]).decode() if text else "" for name, text in parts.items()}
    arm = one.arm
    return CapturedCall(
        id=one.call.inbound.call_id,
        decision_id=one.decision.id,
        response_id=found.response_id,
        at=one.at,
        expires_at=one.at + one.terms.days * DAY_SECONDS,
        team=one.principal.team,
        key_id=one.principal.key_id,
        endpoint=one.call.endpoint,
        path=arm.path,
        rule=one.decision.rule,
        line=arm.line,
        version=arm.version,
        model=arm.model,
        status=one.status,
        finish_reason=found.finish_reason,
        conversation=msgspec.json.decode(parts["conversation"], type=str),
        messages=_storable(parts["messages"]),
        tools=_storable(parts["tools"]),
        response_format=_storable(parts["response_format"]),
        answer=_storable(parts["answer"]),
        is_redacted=one.terms.redact,
    )


def _storable(text: str) -> str:
    """Without NUL, of which nothing here makes a text: in JSON it stands as an escape, after no other backslash."""
    return _NUL.sub(r"\1", text)
