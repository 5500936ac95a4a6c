"""Rows of captured calls. They hold the words of messages, so they end with their team's retention."""

from sqlalchemy import Column, Index, Text
from sqlmodel import Field, SQLModel


class CapturedCallRow(SQLModel, table=True):
    """A call, as `CapturedCall` has it. id: the call's own."""

    __tablename__ = "captured_calls"
    __table_args__ = (
        Index("captured_calls_team_at", "team", "at", "id"),
        Index("captured_calls_decision", "decision_id"),
        Index("captured_calls_response", "response_id"),
        Index("captured_calls_expire", "expires_at"),
    )

    id: str = Field(primary_key=True)
    decision_id: str
    response_id: str
    at: float
    expires_at: float
    team: str
    key_id: str
    endpoint: str
    path: str
    rule: str
    line: str | None = None
    version: int | None = None
    model: str
    status: int
    finish_reason: str
    conversation: str
    messages: str = Field(sa_column=Column(Text, nullable=False))
    tools: str = Field(sa_column=Column(Text, nullable=False))
    response_format: str = Field(sa_column=Column(Text, nullable=False))
    answer: str = Field(sa_column=Column(Text, nullable=False))
    is_redacted: bool
