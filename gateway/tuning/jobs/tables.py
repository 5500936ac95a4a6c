"""Rows of fine-tuning jobs, of what happened to them, and of the models that came of them."""

from sqlalchemy import BigInteger, Column, Index, Text
from sqlmodel import Field, SQLModel


class TuningJobRow(SQLModel, table=True):
    """A job, as `TuningJob` has it. due_at: when it is looked after next; NULL when it has ended."""

    __tablename__ = "tuning_jobs"
    __table_args__ = (Index("tuning_jobs_due", "due_at"), Index("tuning_jobs_team_at", "team", "created_at", "id"))

    id: str = Field(primary_key=True)
    team: str
    key_id: str
    organisation: str
    trainer: str
    serves_at: str
    model: str
    training_file: str
    validation_file: str | None = None
    suffix: str
    seed: int = Field(sa_column=Column(BigInteger, nullable=False))
    method: str
    hyperparameters: str = Field(sa_column=Column(Text, nullable=False))
    grader: str = Field(sa_column=Column(Text, nullable=False))
    integrations: str = Field(sa_column=Column(Text, nullable=False))
    metadata_json: str = Field(sa_column=Column("metadata", Text, nullable=False))
    created_at: float
    state: str
    wanted: str
    reference: str | None = None
    seen: int
    events: int
    tuned_model: str | None = None
    trained_tokens: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=True))
    estimated_tokens: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=True))
    dataset_hash: str
    resolved: str = Field(sa_column=Column(Text, nullable=False))
    error: str | None = Field(default=None, sa_column=Column(Text, nullable=True))
    results: str = Field(sa_column=Column(Text, nullable=False))
    ended_at: float | None = None
    finished_at: float | None = None
    estimated_finish: float | None = None
    cost_nano_usd: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=True))
    due_at: float | None = None
    held_until: float | None = None
    tries: int
    quiet: int


class TuningEventRow(SQLModel, table=True):
    """What happened to a job. data: of metrics, a JSON object."""

    __tablename__ = "tuning_events"

    job_id: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    at: float
    level: str
    message: str = Field(sa_column=Column(Text, nullable=False))
    kind: str
    data: str = Field(sa_column=Column(Text, nullable=False))


class CheckpointRow(SQLModel, table=True):
    """A model as it was at a step. metrics: a JSON object."""

    __tablename__ = "checkpoints"
    __table_args__ = (Index("checkpoints_model", "model"),)

    job_id: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    at: float
    step: int
    model: str
    metrics: str = Field(sa_column=Column(Text, nullable=False))


class TunedModelRow(SQLModel, table=True):
    """A model that a job made, the team's that asked for it. deleted_at: since when nobody may call it."""

    __tablename__ = "tuned_models"

    id: str = Field(primary_key=True)
    team: str
    upstream: str
    base: str
    job_id: str
    created_at: float
    deleted_at: float | None = None


class ModelPermissionRow(SQLModel, table=True):
    """Another team that may call a tuned model."""

    __tablename__ = "model_permissions"
    __table_args__ = (Index("model_permissions_of", "model", "team", unique=True),)

    id: str = Field(primary_key=True)
    model: str
    team: str
    created_at: float
