"""Rows of plans of retraining."""

from sqlalchemy import Column, Index, Text
from sqlmodel import Field, SQLModel


class RetrainPlanRow(SQLModel, table=True):
    """A plan. arguments: JSON of what was asked. done: JSON, step -> what came of it. state: open, done, given_up."""

    __tablename__ = "retrain_plans"
    __table_args__ = (Index("retrain_plans_line", "line", "created_at"),)

    id: str = Field(primary_key=True)
    line: str
    actor: str
    arguments: str = Field(sa_column=Column(Text, nullable=False))
    state: str
    done: str = Field(sa_column=Column(Text, nullable=False))
    error: str = Field(sa_column=Column(Text, nullable=False))
    created_at: float
    updated_at: float
