"""What the journal holds: framed, checksummed records."""

import struct
import zlib
from collections.abc import Iterator

import msgspec

from gateway.core.call import Principal
from gateway.core.clock import utc_day
from gateway.core.decision import Arm, Decision, Features, Names, Trace, Trial
from gateway.core.event import UsageEvent
from gateway.core.facts import Facts, KnowledgeSignal, TaskSignal
from gateway.core.grounds import Grounds

# Length and CRC-32 of the payload, little-endian.
HEAD = struct.Struct("<II")
# A length past this is not a record but garbage.
MAX_RECORD = 4 * 1024 * 1024


NO_NAMES = Names("", "", "", "", False, None, (), ())
NO_FEATURES = Features(0, 0, 0, has_image=False, response_format="text")


class ArmCost(msgspec.Struct, frozen=True, gc=False):
    """An arm and what the call was expected to cost there when it was decided.

    role: chosen, fallback, other (a target that the draw left aside), shadow. output_tokens: the model's mean up to
    then, at most the call's own cap. nano_usd: None without a price.
    """

    role: str
    arm: Arm
    input_tokens: int
    output_tokens: int
    nano_usd: int | None


class DecisionRecord(msgspec.Struct, frozen=True, gc=False):
    """A decision and all that it stood on, as it will be asked for months later. No words of a message.

    draw, drawn: the random number of the call, and the share that chose among targets. signals: scores by
    `task:<line>` and `knowledge:<collection>`; contributions: what each piece of evidence added to them.
    knowledge, tasks: the evidence itself, without what was found.
    """

    id: str
    call_id: str
    at: float
    team: str
    key_id: str
    key_name: str
    endpoint: str
    asked_model: str
    rule: str
    path: str
    upstream: str
    model: str
    line: str | None
    policy_hash: str
    trace: Trace
    draw: float
    budget_used: float | None
    signals: tuple[tuple[str, float], ...]
    refusal: str | None = None
    successor_of: str | None = None
    # A field that is added later has a default: journals of the version before must stay readable.
    names: Names = NO_NAMES
    features: Features = NO_FEATURES
    drawn: float = 0.0
    knowledge: tuple[tuple[tuple[str, ...], KnowledgeSignal], ...] = ()
    tasks: tuple[TaskSignal, ...] | None = None
    contributions: tuple[tuple[str, tuple[tuple[str, float], ...]], ...] = ()
    arms: tuple[ArmCost, ...] = ()
    trial: Trial | None = None

    def facts(self) -> Facts:
        """The facts as they were."""
        return Facts(self.at, utc_day(self.at), self.draw, self.budget_used, self.knowledge, self.tasks)


def record_of(
    call_id: str, principal: Principal, decision: Decision, facts: Facts, costs: tuple[ArmCost, ...]
) -> DecisionRecord:
    """A decision as it is kept. What retrieval found is left out: the words of documents have no place here."""
    arm = decision.arms[0] if decision.arms else None
    names = decision.names
    knowledge = facts.knowledge
    signals: tuple[tuple[str, float], ...] = ()
    contributions: tuple[tuple[str, tuple[tuple[str, float], ...]], ...] = ()
    if knowledge:
        knowledge = tuple((of, msgspec.structs.replace(signal, hits=())) for of, signal in knowledge)
    if decision.scores:
        signals = tuple((f"{score.kind}:{score.of}", score.score) for score in decision.scores)
        contributions = tuple((f"{score.kind}:{score.of}", score.contributions) for score in decision.scores)
    return DecisionRecord(
        id=decision.id,
        call_id=call_id,
        at=facts.now,
        team=principal.team,
        key_id=principal.key_id,
        key_name=principal.key_name,
        endpoint=names.endpoint,
        asked_model=names.model,
        rule=decision.rule,
        path=arm.path if arm else "refused",
        upstream=arm.upstream if arm else "",
        model=arm.model if arm else "",
        line=arm.line if arm else None,
        policy_hash=decision.policy_hash,
        names=names,
        trace=decision.trace,
        draw=facts.draw,
        budget_used=facts.budget_used,
        signals=signals,
        refusal=decision.refusal,
        successor_of=decision.successor_of,
        features=decision.features,
        drawn=decision.draw,
        knowledge=knowledge,
        tasks=facts.tasks,
        contributions=contributions,
        arms=costs,
        trial=decision.trial,
    )


class Grounded(msgspec.Struct, frozen=True):
    """An attempt and what its answer stood on."""

    event: UsageEvent
    grounds: Grounds


class Intent(msgspec.Struct, frozen=True, gc=False, tag="i"):
    """Money is about to be spent: written before the first byte goes upstream.

    event: the row that an orphan becomes; its outcome is `interrupted`, its usage an estimate. grounds: of an orphan.
    """

    event: UsageEvent
    decision: DecisionRecord | None = None
    grounds: Grounds | None = None


class Progress(msgspec.Struct, frozen=True, gc=False, tag="p"):
    """How many bytes of a reply have passed, for an estimate should the end never be written."""

    event_id: str
    passed_bytes: int


class Final(msgspec.Struct, frozen=True, gc=False, tag="f"):
    """An attempt is over: written before the caller's last byte. grounds: what its answer stood on."""

    event: UsageEvent
    decision: DecisionRecord | None = None
    grounds: Grounds | None = None

    @property
    def grounded(self) -> "Grounded | None":
        """Its grounds, if it has any, with its event."""
        return None if self.grounds is None else Grounded(self.event, self.grounds)


class Void(msgspec.Struct, frozen=True, gc=False, tag="v"):
    """An intent that came to nothing: not one byte of it was sent."""

    event_id: str


class Unreadable(msgspec.Struct, frozen=True, gc=False, tag="u"):
    """A record that is whole but not of a kind this version knows: another version wrote it."""


Record = Intent | Progress | Final | Void | Unreadable

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)


def frame(record: Record) -> bytes:
    """The record as it stands in the file."""
    payload = _encoder.encode(record)
    return HEAD.pack(len(payload), zlib.crc32(payload)) + payload


def read_frames(data: bytes, offset: int = 0) -> Iterator[tuple[Record, int]]:
    """Records from `offset` on, each with the offset after it; ends at the first torn or damaged one.

    A whole record that cannot be understood comes as Unreadable: whoever reads must not delete its file.

    A full disk tears a write in two and a crash may leave half a record: that tail was never promised.
    """
    while offset + HEAD.size <= len(data):
        length, checksum = HEAD.unpack_from(data, offset)
        end = offset + HEAD.size + length
        if length > MAX_RECORD or end > len(data):
            return
        payload = data[offset + HEAD.size : end]
        if zlib.crc32(payload) != checksum:
            return
        try:
            record: Record = _decoder.decode(payload)
        except msgspec.DecodeError:
            record = Unreadable()
        offset = end
        yield record, offset
