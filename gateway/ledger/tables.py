"""Rows of the books. Usage rows are only ever added. Money is an integer of nano-dollars; NULL is unknown."""

from sqlalchemy import BigInteger, Column, Index, Text
from sqlmodel import Field, SQLModel


def _big(*, nullable: bool = True) -> Column[int]:
    return Column(BigInteger, nullable=nullable)


class UsageEventRow(SQLModel, table=True):
    """One attempt, as `gateway.core.event.UsageEvent` says it. On PostgreSQL the table is partitioned by month of `at`.

    An attempt's `at` is the same in every record of it, so `(id, at)` is as good as `id` alone.
    """

    __tablename__ = "usage_events"
    __table_args__ = (Index("usage_events_team_at", "team", "at"), Index("usage_events_at", "at"))

    id: str = Field(primary_key=True)
    call_id: str = Field(index=True)
    attempt: int
    last: bool
    at: float = Field(primary_key=True)
    team: str
    organisation: str = ""
    key_id: str
    endpoint: str
    asked_model: str
    path: str
    upstream: str
    model: str
    line: str | None = None
    rule: str
    collections: str = Field(sa_column=Column(Text, nullable=False))
    outcome: str
    status: int
    error: str
    stream: bool
    input_tokens: int | None = Field(default=None, sa_column=_big())
    cached_tokens: int | None = Field(default=None, sa_column=_big())
    cache_write_tokens: int | None = Field(default=None, sa_column=_big())
    output_tokens: int | None = Field(default=None, sa_column=_big())
    reasoning_tokens: int | None = Field(default=None, sa_column=_big())
    audio_input_tokens: int | None = Field(default=None, sa_column=_big())
    audio_output_tokens: int | None = Field(default=None, sa_column=_big())
    image_input_tokens: int | None = Field(default=None, sa_column=_big())
    image_output_tokens: int | None = Field(default=None, sa_column=_big())
    accepted_prediction_tokens: int | None = Field(default=None, sa_column=_big())
    rejected_prediction_tokens: int | None = Field(default=None, sa_column=_big())
    service_tier: str = ""
    context_tokens: int = Field(sa_column=_big(nullable=False))
    usage_source: str | None = None
    usage_raw: str | None = Field(default=None, sa_column=Column(Text, nullable=True))
    cost_nano_usd: int | None = Field(default=None, sa_column=_big())
    cost_by_kind: str = Field(sa_column=Column(Text, nullable=False))
    cost_status: str
    price_source: str
    seconds: float
    first_byte_seconds: float | None = None
    upstream_seconds: float
    meta: str = Field(sa_column=Column("metadata", Text, nullable=False))
    pools: str = Field(default="", sa_column=Column(Text, nullable=False, server_default=""))


class RollupRow(SQLModel, table=True):
    """Sums of usage rows of one UTC day and one set of names; kept when the rows are dropped.

    id: a hash of the names. adjusted_nano_usd: the sum of adjustments to those rows. priced_later: rows without a
    price that an adjustment has given one.
    """

    __tablename__ = "usage_rollups"
    __table_args__ = (Index("usage_rollups_day", "day"), Index("usage_rollups_team_day", "team", "day"))

    id: str = Field(primary_key=True)
    day: str
    organisation: str
    team: str
    key_id: str
    endpoint: str
    path: str
    upstream: str
    model: str
    line: str
    rule: str
    collections: str = Field(sa_column=Column(Text, nullable=False))
    service_tier: str
    calls: int = Field(sa_column=_big(nullable=False))
    attempts: int = Field(sa_column=_big(nullable=False))
    input_tokens: int = Field(sa_column=_big(nullable=False))
    cached_tokens: int = Field(sa_column=_big(nullable=False))
    cache_write_tokens: int = Field(sa_column=_big(nullable=False))
    output_tokens: int = Field(sa_column=_big(nullable=False))
    reasoning_tokens: int = Field(sa_column=_big(nullable=False))
    context_tokens: int = Field(sa_column=_big(nullable=False))
    cost_nano_usd: int = Field(sa_column=_big(nullable=False))
    input_nano_usd: int = Field(sa_column=_big(nullable=False))
    cached_nano_usd: int = Field(sa_column=_big(nullable=False))
    output_nano_usd: int = Field(sa_column=_big(nullable=False))
    other_nano_usd: int = Field(sa_column=_big(nullable=False))
    adjusted_nano_usd: int = Field(sa_column=_big(nullable=False))
    unpriced: int = Field(sa_column=_big(nullable=False))
    priced_later: int = Field(sa_column=_big(nullable=False))
    estimated: int = Field(sa_column=_big(nullable=False))


class AdjustmentRow(SQLModel, table=True):
    """A correction of a usage row, which itself is never edited. Only ever added.

    delta_nano_usd: what is added to the row's cost (a row without a price counts as 0 here, and has a price then).
    run: which repricing or correction it belongs to; a row is adjusted by a run once.
    """

    __tablename__ = "adjustments"
    __table_args__ = (Index("adjustments_event", "event_id"), Index("adjustments_team_at", "team", "event_at"))

    id: str = Field(primary_key=True)
    run: str
    event_id: str
    event_at: float
    at: float
    team: str
    delta_nano_usd: int = Field(sa_column=_big(nullable=False))
    gives_price: bool
    price_source: str
    actor: str
    reason: str = Field(sa_column=Column(Text, nullable=False))


class DecisionRow(SQLModel, table=True):
    """One decision with the facts it stood on. record: `DecisionRecord` as JSON. Partitioned as usage rows are."""

    __tablename__ = "decisions"

    id: str = Field(primary_key=True)
    call_id: str = Field(index=True)
    at: float = Field(primary_key=True, index=True)
    team: str
    rule: str
    path: str
    policy_hash: str
    record: str = Field(sa_column=Column(Text, nullable=False))


class AnswerSourceRow(SQLModel, table=True):
    """A document in the prompt of an answer, with the version that stood there. Partitioned as usage rows are.

    id: the attempt's, and a number. cited: None when nobody can tell.
    """

    __tablename__ = "answer_sources"
    __table_args__ = (Index("answer_sources_document", "document", "at"),)

    id: str = Field(primary_key=True)
    at: float = Field(primary_key=True, index=True)
    call_id: str
    team: str
    model: str
    collection: str
    document: str = Field(sa_column=Column(Text, nullable=False))
    version: str
    cited: bool | None = None


class KnowledgeGapRow(SQLModel, table=True):
    """A question that the collections did not answer; one a call. Partitioned as usage rows are.

    id: the call's. question: '' where a collection keeps none.
    """

    __tablename__ = "knowledge_gaps"

    id: str = Field(primary_key=True)
    at: float = Field(primary_key=True, index=True)
    team: str
    collections: str = Field(sa_column=Column(Text, nullable=False))
    kind: str
    outcome: str
    question: str = Field(sa_column=Column(Text, nullable=False))
    score: float | None = None


class PolicyVersionRow(SQLModel, table=True):
    """The files of a policy that once was live, by hash. files: JSON of name to text."""

    __tablename__ = "policy_versions"

    hash: str = Field(primary_key=True)
    first_live_at: float
    files: str = Field(sa_column=Column(Text, nullable=False))


class JournalOffsetRow(SQLModel, table=True):
    """How far a journal segment is shipped, in bytes."""

    __tablename__ = "journal_offsets"

    segment: str = Field(primary_key=True)
    offset: int = Field(sa_column=_big(nullable=False))
