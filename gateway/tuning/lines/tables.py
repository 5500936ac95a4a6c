"""Rows of model lines."""

from sqlalchemy import BigInteger, Column, Index, Text
from sqlmodel import Field, SQLModel


class LineRow(SQLModel, table=True):
    """A line. revision: counts each change, and is what a change compares. teams, successor: JSON; canary: a share.

    previous: the version that was champion before, which a rollback brings back; NULL before the first promotion.
    """

    __tablename__ = "lines"

    name: str = Field(primary_key=True)
    owner: str
    champion: int
    challenger: int | None = None
    previous: int | None = None
    canary: float
    teams: str = Field(sa_column=Column(Text, nullable=False))
    successor: str | None = Field(default=None, sa_column=Column(Text, nullable=True))
    revision: int
    created_at: float


class LineVersionRow(SQLModel, table=True):
    """A version; nothing of it is ever changed. parent: the version it goes on from. checkpoints: JSON."""

    __tablename__ = "line_versions"
    __table_args__ = (Index("line_versions_model", "model"),)

    line: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    model: str
    upstream: str
    base: str
    parent: int | None = None
    job_id: str
    training_file: str
    dataset_hash: str
    hyperparameters: str = Field(sa_column=Column(Text, nullable=False))
    checkpoints: str = Field(sa_column=Column(Text, nullable=False))
    trained_tokens: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=True))
    cost_nano_usd: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=True))
    owner: str
    created_by: str
    created_at: float
    shutdown_date: str | None = None
    notes: str = Field(sa_column=Column(Text, nullable=False))


class LineScoreRow(SQLModel, table=True):
    """How a version did on a frozen set. set_hash: of the items; scores: JSON, item key -> score."""

    __tablename__ = "line_scores"
    __table_args__ = (Index("line_scores_of", "line", "number", "set_hash"),)

    id: str = Field(primary_key=True)
    line: str
    number: int
    set_hash: str
    source: str
    mean: float
    items: int
    scores: str = Field(sa_column=Column(Text, nullable=False))
    created_at: float


class LineEventRow(SQLModel, table=True):
    """A change of a line. revision: the one that it made. detail: JSON."""

    __tablename__ = "line_events"
    __table_args__ = (Index("line_events_of", "line", "revision"),)

    id: str = Field(primary_key=True)
    line: str
    revision: int
    at: float
    actor: str
    action: str
    detail: str = Field(sa_column=Column(Text, nullable=False))


class TrialRow(SQLModel, table=True):
    """A canary. slow_seconds: past this a reply is slow; NULL when that is not known. held_at: when it had held out."""

    __tablename__ = "line_trials"

    line: str = Field(primary_key=True)
    champion: int = Field(primary_key=True)
    challenger: int = Field(primary_key=True)
    began_at: float
    slow_seconds: float | None = None
    held_at: float | None = None


def _count() -> Column[int]:
    return Column(BigInteger, nullable=False)


class TrialCountRow(SQLModel, table=True):
    """What was seen of one version in a canary: sums that are only ever added to."""

    __tablename__ = "line_trial_counts"

    line: str = Field(primary_key=True)
    champion: int = Field(primary_key=True)
    challenger: int = Field(primary_key=True)
    version: int = Field(primary_key=True)
    calls: int = Field(sa_column=_count())
    errors: int = Field(sa_column=_count())
    formed: int = Field(sa_column=_count())
    malformed: int = Field(sa_column=_count())
    plain: int = Field(sa_column=_count())
    plain_json: int = Field(sa_column=_count())
    rated: int = Field(sa_column=_count())
    disliked: int = Field(sa_column=_count())
    slow: int = Field(sa_column=_count())


class UpstreamShutdownsRow(SQLModel, table=True):
    """When an upstream's own list says that its models end. dates: JSON, id -> day."""

    __tablename__ = "upstream_shutdowns"

    upstream: str = Field(primary_key=True)
    dates: str = Field(sa_column=Column(Text, nullable=False))
    seen_at: float
