"""Rows of evals, their runs, the items of these, and sums of what came of them."""

from sqlalchemy import BigInteger, Column, Index, Text
from sqlmodel import Field, SQLModel


class EvalRow(SQLModel, table=True):
    """An eval. The JSON is as its caller wrote it. Times are Unix seconds."""

    __tablename__ = "evals"
    __table_args__ = (
        Index("evals_team_at", "team", "created_at", "id"),
        Index("evals_team_updated", "team", "updated_at", "id"),
    )

    id: str = Field(primary_key=True)
    team: str
    name: str
    metadata_json: str = Field(sa_column=Column("metadata", Text, nullable=False))
    data_source_config: str = Field(sa_column=Column(Text, nullable=False))
    testing_criteria: str = Field(sa_column=Column(Text, nullable=False))
    created_at: float
    updated_at: float


class EvalRunRow(SQLModel, table=True):
    """A run. principal: JSON of whose calls it makes; no key is in it."""

    __tablename__ = "eval_runs"
    __table_args__ = (
        Index("eval_runs_at", "eval_id", "created_at", "id"),
        Index("eval_runs_status", "status"),
    )

    id: str = Field(primary_key=True)
    eval_id: str
    team: str
    principal: str = Field(sa_column=Column(Text, nullable=False))
    name: str
    metadata_json: str = Field(sa_column=Column("metadata", Text, nullable=False))
    data_source: str = Field(sa_column=Column(Text, nullable=False))
    model: str
    status: str
    created_at: float
    item_count: int
    error_code: str
    error_message: str = Field(sa_column=Column(Text, nullable=False))


class EvalItemRow(SQLModel, table=True):
    """An item of a run. status: `queued` until `pass`, `fail` or `error` is written, once; `canceled` with its run.

    outcome: JSON of how far it has come. held_until: one process evaluates it till then.
    """

    __tablename__ = "eval_items"
    __table_args__ = (
        Index("eval_items_at", "run_id", "created_at", "id"),
        Index("eval_items_due", "status", "number"),
        Index("eval_items_of", "run_id", "status"),
    )

    run_id: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    id: str
    item: str = Field(sa_column=Column(Text, nullable=False))
    given: str = Field(sa_column=Column(Text, nullable=False))
    status: str
    outcome: str = Field(sa_column=Column(Text, nullable=False))
    created_at: float
    tries: int
    held_until: float | None = None


class EvalTallyRow(SQLModel, table=True):
    """Sums of a run, kept with each item that ends. kind: `criterion` or `model`."""

    __tablename__ = "eval_tallies"

    run_id: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    passed: int
    failed: int
    invocations: int
    prompt_tokens: int = Field(sa_column=Column(BigInteger, nullable=False))
    completion_tokens: int = Field(sa_column=Column(BigInteger, nullable=False))
    cached_tokens: int = Field(sa_column=Column(BigInteger, nullable=False))
    unmetered: int
