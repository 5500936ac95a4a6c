"""Rows of batches, and of what their lines were answered until that is in a file."""

from sqlalchemy import Column, Index, Text
from sqlmodel import Field, SQLModel


class BatchRow(SQLModel, table=True):
    """A batch; see `Batch`. holder: the process that runs it, alone till held_until."""

    __tablename__ = "batches"
    __table_args__ = (
        Index("batches_team_at", "team", "created_at", "id"),
        Index("batches_status", "status", "created_at"),
    )

    id: str = Field(primary_key=True)
    team: str
    principal: str = Field(sa_column=Column(Text, nullable=False))
    endpoint: str
    input_file_id: str
    status: str
    metadata_json: str = Field(sa_column=Column("metadata", Text, nullable=False))
    created_at: float
    expires_at: float
    output_id: str
    error_id: str
    output_seconds: int | None = None
    has_output: bool
    has_errors: bool
    total: int
    completed: int
    failed: int
    model: str
    errors: str = Field(sa_column=Column(Text, nullable=False))
    usage: str = Field(sa_column=Column(Text, nullable=False))
    upstream: str
    upstream_id: str
    ending: str
    in_progress_at: float | None = None
    finalizing_at: float | None = None
    completed_at: float | None = None
    failed_at: float | None = None
    expired_at: float | None = None
    cancelling_at: float | None = None
    cancelled_at: float | None = None
    holder: str
    held_until: float | None = None


class BatchAnswerRow(SQLModel, table=True):
    """What became of a line. number: of the line in its file, from 1. is_error: it stands in the error file."""

    __tablename__ = "batch_answers"

    batch_id: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    is_error: bool
    line: str = Field(sa_column=Column(Text, nullable=False))
