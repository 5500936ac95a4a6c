"""Rows of feedback."""

from sqlalchemy import Column, Index, Text
from sqlmodel import Field, SQLModel


class FeedbackRow(SQLModel, table=True):
    """What was said of a call, as `Feedback` has it."""

    __tablename__ = "feedback"
    __table_args__ = (
        Index("feedback_team_at", "team", "at", "call_id"),
        Index("feedback_line", "line", "version", "called_at"),
    )

    call_id: str = Field(primary_key=True)
    decision_id: str
    team: str
    key_id: str
    at: float
    called_at: float
    score: float
    comment: str = Field(sa_column=Column(Text, nullable=False))
    corrected: str = Field(sa_column=Column(Text, nullable=False))
    line: str | None = None
    version: int | None = None
    model: str
