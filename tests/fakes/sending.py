"""A sender over a script, for tests of what it does with each reply."""

from typing import Any

from gateway.core.call import Call
from gateway.core.clock import Clock
from gateway.core.decision import Arm, CallLimits
from gateway.policy.models_file import UpstreamEntry
from gateway.upstream.ahead import Sent
from gateway.upstream.port import Lease
from gateway.upstream.prepared import Prepared
from gateway.upstream.send import Sender
from gateway.upstream.upstreams import Upstreams
from gateway.wire.rewrite import rewritten
from tests.fakes.calls import chat
from tests.fakes.scripted_transport import Act, NoteBook, Patient, ScriptedTransport

FIRST = Arm(path="direct", upstream="main", model="first")
SECOND = Arm(path="direct", upstream="main", model="second")
THIRD = Arm(path="direct", upstream="main", model="third")


class Stage:
    """A sender over a script, and what came of a call."""

    def __init__(self, *acts: Act, key: str | None = None, **upstream: Any) -> None:
        self.acts = acts
        self.transport = ScriptedTransport(*acts)
        self.upstreams = Upstreams({"http1": self.transport}, {"KEY": key or ""}, Clock())
        entry = {"base_url": "http://main.test/v1"} | ({"api_key": "env:KEY"} if key else {}) | upstream
        self.upstreams.replace(self.upstreams.build({"main": UpstreamEntry.model_validate(entry)}))
        self.outcomes: list[str] = []
        self.sender = Sender(self.upstreams, lambda _upstream, outcome: self.outcomes.append(outcome))
        self.book = NoteBook()
        self.lease = Lease()
        self.caller = Patient()

    async def send(self, *arms: Arm, call: Call | None = None, limits: CallLimits | None = None) -> Sent:
        asked = call or chat()

        async def prepare(arm: Arm) -> Prepared:
            asks = self.upstreams.named(arm.upstream).takes_stream_options
            body, injected = rewritten(asked, arm, may_ask_usage=asks)
            return Prepared(arm=arm, body=body, usage_injected=injected)

        return await self.sender.send(asked, arms or (FIRST,), prepare, self.book, self.lease, self.caller, limits)

    @property
    def bodies(self) -> list[bytes]:
        return [outgoing.body for _, outgoing, _ in self.transport.asked]


def status_of(sent: Sent) -> int:
    assert sent.reply is not None
    return sent.reply.status


async def body_of(sent: Sent) -> bytes:
    assert sent.reply is not None
    parts = []
    while part := await sent.reply.read():
        parts.append(part)
    return b"".join(parts)
