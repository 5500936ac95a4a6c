"""Rows of teams and keys. Only a key's HMAC is kept."""

from sqlalchemy import BigInteger, Column
from sqlmodel import Field, SQLModel


class TeamRow(SQLModel, table=True):
    """A team. monthly_budget_nano_usd: None is no limit."""

    __tablename__ = "teams"

    name: str = Field(primary_key=True)
    title: str = ""
    monthly_budget_nano_usd: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=True))
    created_at: float


class ApiKeyRow(SQLModel, table=True):
    """A key of a team. digest: HMAC-SHA256 under the pepper, hex. prefix: what may be shown."""

    __tablename__ = "api_keys"

    id: str = Field(primary_key=True)
    team: str = Field(foreign_key="teams.name", index=True)
    name: str
    prefix: str
    digest: str = Field(unique=True)
    debug: bool = False
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
