"""Rows of messages that wait for their delivery."""

from sqlalchemy import Column, Index, Text
from sqlmodel import Field, SQLModel


class DeliveryRow(SQLModel, table=True):
    """A message for a webhook, kept until it is delivered. id: the same for the same fact, so that it is told once."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (Index("webhook_deliveries_due", "due_at"),)

    id: str = Field(primary_key=True)
    url: str
    body: str = Field(sa_column=Column(Text, nullable=False))
    created_at: float
    due_at: float | None = None
    tries: int = 0
    delivered_at: float | None = None
    fault: str = ""
