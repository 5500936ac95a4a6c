"""A transport without a network: each attempt gets the next act of a script. Keeps the port's protocol."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence

from gateway.core.call import Headers
from gateway.core.decision import Arm
from gateway.core.event import Closing
from gateway.core.grounds import Grounds
from gateway.core.usage import Usage
from gateway.upstream.faults import Aborted, TransportError
from gateway.upstream.port import Deadlines, Lease, Origin, Outgoing

JSON: Headers = ((b"content-type", b"application/json"),)
EVENTS: Headers = ((b"content-type", b"text/event-stream; charset=utf-8"),)


class Says:
    """A reply: its parts come one by one; a TransportError among them breaks it off there, a number is a wait."""

    def __init__(self, status: int, *parts: bytes | float | TransportError, headers: Headers = ()) -> None:
        self.status = status
        self.headers = headers
        self.sent_at = 0.0
        self.parts = list(parts)
        self.aborted = False
        self._cut = asyncio.Event()

    async def read(self) -> bytes:
        while not self.aborted:
            if not self.parts:
                return b""
            part = self.parts[0]
            if isinstance(part, TransportError):
                raise part
            del self.parts[0]
            if isinstance(part, bytes):
                return part
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(part):
                    await self._cut.wait()
        raise Aborted("The call was given up.")

    def abort(self) -> None:
        self.aborted = True
        self._cut.set()


class LeavesAfter:
    """The caller leaves during this attempt. sent: whether bytes had gone out by then."""

    def __init__(self, *, sent: bool) -> None:
        self.sent = sent


Act = Says | TransportError | LeavesAfter


class ScriptedTransport:
    """Plays its acts in order; more attempts than acts is a fault of the test or of the sender."""

    def __init__(self, *acts: Act) -> None:
        self.acts: Iterator[Act] = iter(acts)
        self.asked: list[tuple[Origin, Outgoing, Deadlines]] = []
        self.active_count = 0
        self.idle_count = 0

    async def send(self, origin: Origin, outgoing: Outgoing, deadlines: Deadlines, lease: Lease) -> Says:
        lease.check()
        self.asked.append((origin, outgoing, deadlines))
        act = next(self.acts)
        if isinstance(act, TransportError):
            raise act
        if isinstance(act, LeavesAfter):
            lease.abort()
            raise Aborted("The call was given up.", sent=act.sent)
        act.sent_at = asyncio.get_running_loop().time()
        lease.hold(act.abort)
        return act

    async def close(self) -> None:
        """Nothing is open."""


class NoteBook:
    """A book that notes what it is told, in the order of the telling."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.failures: list[Closing] = []
        self._attempt = 0

    @property
    def attempt_id(self) -> str:
        return f"call_1.{self._attempt}"

    def start(self, arm: Arm, context_tokens: int = 0) -> None:
        self._attempt += 1
        self.told.append(f"start {arm.model}" + (f" +{context_tokens}" if context_tokens else ""))

    @property
    def waits(self) -> bool:
        return False

    async def durable(self) -> None:
        """An intent of these tests is as durable as it gets."""

    def note(self, grounds: Callable[[], Grounds]) -> None:
        self.told.append(f"note {len(grounds().sources)}")

    def void(self) -> None:
        self.told.append("void")

    def fail(self, closing: Closing) -> None:
        self.failures.append(closing)
        self.told.append(f"fail {closing.status}")

    def closing_of_prompt(self, closing: Closing) -> Closing:
        return Closing(closing.outcome, closing.status, closing.error, Usage(10, 0, source="estimated"))


class Patient:
    """A caller that waits. told: how long it let the upstream go on without it."""

    def __init__(self) -> None:
        self.left = False
        self.told: list[float] = []

    def patience(self, seconds: float) -> None:
        self.told.append(seconds)


def said(acts: Sequence[Act]) -> list[Says]:
    """The replies of a script."""
    return [act for act in acts if isinstance(act, Says)]
