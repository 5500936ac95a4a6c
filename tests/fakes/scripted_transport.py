"""A transport without a network: each attempt gets the next act of a script. Keeps the port's protocol."""

from collections.abc import Iterator, Sequence

from gateway.core.call import Headers
from gateway.core.decision import Arm
from gateway.core.event import Closing
from gateway.core.usage import Usage
from gateway.upstream.faults import Aborted, TransportError
from gateway.upstream.port import Deadlines, Lease, Origin, Outgoing


class Says:
    """A reply: its parts come one by one; a TransportError among them breaks it off there."""

    def __init__(self, status: int, *parts: bytes | TransportError, headers: Headers = ()) -> None:
        self.status = status
        self.headers = headers
        self.parts = list(parts)
        self.aborted = False

    async def read(self) -> bytes:
        if self.aborted:
            raise Aborted("The call was given up.")
        if not self.parts:
            return b""
        part = self.parts[0]
        if isinstance(part, TransportError):
            raise part
        return self.parts.pop(0)  # type: ignore[return-value]  # just looked at

    def abort(self) -> None:
        self.aborted = self.aborted or bool(self.parts)


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

    def void(self) -> None:
        self.told.append("void")

    def fail(self, closing: Closing) -> None:
        self.failures.append(closing)
        self.told.append(f"fail {closing.status}")

    def closing_of_prompt(self, closing: Closing) -> Closing:
        return Closing(closing.outcome, closing.status, closing.error, Usage(10, 0, source="estimated"))


def said(acts: Sequence[Act]) -> list[Says]:
    """The replies of a script."""
    return [act for act in acts if isinstance(act, Says)]
