"""What a path makes of a call: ready to be sent to one arm."""

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from gateway.core.call import Headers
from gateway.core.decision import Arm
from gateway.core.event import Closing
from gateway.core.grounds import Grounds
from gateway.core.values import Value
from gateway.wire.usage import usage_of_body

BYTES_PER_TOKEN = 4


class ReplyEditor(Protocol):
    """Changes a reply on its way to the caller. Made for one attempt, fed by one task."""

    def whole(self, body: bytes) -> bytes:
        """A whole JSON reply, edited."""
        ...

    def feed(self, block: bytes) -> bytes:
        """Whole events of a stream, edited; may hold back text that could still change."""
        ...

    def finish(self) -> bytes:
        """What was held back, when the stream ends."""
        ...

    def broken(self) -> bytes:
        """What was held back and may be told, when the stream breaks off."""
        ...


class Prepared(Value, frozen=True):
    """A request for one arm.

    body: what goes upstream. usage_injected: we asked for the stream's usage, the caller did not.
    context_tokens: of injected sources. headers: what the caller is told beside the reply.
    answer: a whole reply made here, in place of an upstream call: content type and bytes. passes_on: as long as
    another arm is left, that one is to answer instead, and gets the headers and the editor. instead: an arm to ask in
    place of this one, whose reply gets these headers. grounds: what the answer stands on, told whenever the books
    ask. weigh: looks at a whole good reply before anybody else does. judging: by whom the answer is looked at after it
    was given. heard: told the words of a good reply that came whole.
    """

    arm: Arm
    body: bytes
    usage_injected: bool = False
    context_tokens: int = 0
    headers: Headers = ()
    editor: ReplyEditor | None = None
    answer: tuple[bytes, bytes] | None = None
    passes_on: bool = False
    instead: Arm | None = None
    grounds: Callable[[], Grounds] | None = None
    weigh: "Callable[[bytes], Awaitable[Weighed]] | None" = None
    judging: "Judging | None" = None
    heard: Callable[[str], None] | None = None


def passed_on(given: Prepared, passed: Prepared | None) -> Prepared:
    """What one way answers, with what another that passed the call on to it would have said of its sources.

    A way that was looked for sources itself says what came of that, and nothing of the other's.
    """
    if passed is None or given.answer is not None:
        return given
    own = {name for name, _ in given.headers}
    if any(name in own for name, _ in passed.headers):
        return given
    editor = given.editor if given.editor is not None else passed.editor
    return msgspec.structs.replace(given, headers=given.headers + passed.headers, editor=editor)


def with_what_came(closing: Closing, came: bytes) -> Closing:
    """The same with the usage that a body tells of, else with its bytes counted."""
    if not came or closing.usage is None:
        return closing
    words = msgspec.structs.replace(closing.usage, output_tokens=len(came) // BYTES_PER_TOKEN)
    return msgspec.structs.replace(closing, usage=usage_of_body(came) or words)


class Judging(Value, frozen=True):
    """Who is asked about an answer that was given. messages: what they are shown; none when nothing was said."""

    arm: Arm
    messages: Callable[[], list[dict[str, str]]]


class Weighed(Value, frozen=True):
    """What becomes of a whole reply. otherwise: an answer of our own in its place; None when it is given as it is.

    again: what is asked first, once, in place of it.
    """

    otherwise: Prepared | None = None
    again: Prepared | None = None


class Book(Protocol):
    """Where attempts are booked; the ledger's entry."""

    @property
    def attempt_id(self) -> str:
        """The attempt in flight."""
        ...

    def start(self, arm: Arm, context_tokens: int = 0) -> None:
        """Before the first byte. Raises AccountingUnavailable: then nothing may be sent."""
        ...

    @property
    def waits(self) -> bool:
        """Whether what `start` has written must still become durable."""
        ...

    async def durable(self) -> None:
        """Returns when it is. Raises AccountingUnavailable: then nothing may be sent, and the attempt is void."""
        ...

    def note(self, grounds: Callable[[], Grounds]) -> None:
        """What the next attempt's answer, or an answer of our own, will stand on."""
        ...

    def void(self) -> None:
        """Nothing was sent."""
        ...

    def fail(self, closing: Closing) -> None:
        """The attempt failed, the call goes on."""
        ...

    def closing_of_prompt(self, closing: Closing) -> Closing:
        """The same with the prompt as its estimated usage: it was sent, and may be billed."""
        ...
