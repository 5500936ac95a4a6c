"""Rows of jobs at upstreams that were begun here and whose cost is known when they end."""

from sqlalchemy import Column, Index, Text
from sqlmodel import Field, SQLModel


class WatchedJobRow(SQLModel, table=True):
    """A job. kind: `training` or `batch`. ended_at: fixed once seen, it is the time of its usage rows.

    due_at: when its upstream is asked next; NULL when it is in the books. held_until: one process asks till then.
    """

    __tablename__ = "watched_jobs"
    __table_args__ = (Index("watched_jobs_due", "due_at"),)

    id: str = Field(primary_key=True)
    kind: str
    upstream: str
    team: str
    key_id: str
    organisation: str
    model: str
    created_at: float
    ended_at: float | None = None
    due_at: float | None = None
    tries: int = 0
    held_until: float | None = None
    metadata_json: str = Field(default="{}", sa_column=Column("metadata", Text, nullable=False, server_default="{}"))
