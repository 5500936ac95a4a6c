"""Rows of the books. Usage rows are only ever added. Money is an integer of nano-dollars; NULL is unknown."""

from sqlalchemy import BigInteger, Column, Index, Text
from sqlmodel import Field, SQLModel


def _big(*, nullable: bool = True) -> Column[int]:
    return Column(BigInteger, nullable=nullable)


class UsageEventRow(SQLModel, table=True):
    """One attempt, as `gateway.core.event.UsageEvent` says it."""

    __tablename__ = "usage_events"
    __table_args__ = (Index("usage_events_team_at", "team", "at"), Index("usage_events_at", "at"))

    id: str = Field(primary_key=True)
    call_id: str = Field(index=True)
    attempt: int
    last: bool
    at: float
    team: str
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


class DecisionRow(SQLModel, table=True):
    """One decision with the facts it stood on. record: `DecisionRecord` as JSON."""

    __tablename__ = "decisions"

    id: str = Field(primary_key=True)
    call_id: str = Field(index=True)
    at: float = Field(index=True)
    team: str
    rule: str
    path: str
    policy_hash: str
    record: str = Field(sa_column=Column(Text, nullable=False))


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
