"""Rows of teams and keys. Only a key's HMAC is kept."""

from sqlalchemy import BigInteger, Column, Text
from sqlmodel import Field, SQLModel


class TeamRow(SQLModel, table=True):
    """A team. monthly_budget_nano_usd: None is no limit."""

    __tablename__ = "teams"

    name: str = Field(primary_key=True)
    title: str = ""
    organisation: str = Field(default="", sa_column_kwargs={"server_default": ""})
    monthly_budget_nano_usd: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=True))
    created_at: float


class ApiKeyRow(SQLModel, table=True):
    """A key of a team. digest: HMAC-SHA256 under the pepper, hex. prefix: what may be shown.

    allowed_models, allowed_paths: JSON lists; empty is all. metadata: JSON object, part of every call's metadata.
    lifetime_seconds: what it was made with, which a key in its place gets too; None has no end.
    """

    __tablename__ = "api_keys"

    id: str = Field(primary_key=True)
    team: str = Field(foreign_key="teams.name", index=True)
    name: str
    prefix: str
    digest: str = Field(unique=True)
    debug: bool = False
    allowed_models: str = Field(default="[]", sa_column=Column(Text, nullable=False, server_default="[]"))
    allowed_paths: str = Field(default="[]", sa_column=Column(Text, nullable=False, server_default="[]"))
    meta: str = Field(default="{}", sa_column=Column("metadata", Text, nullable=False, server_default="{}"))
    lifetime_seconds: float | None = None
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None


class RoleKeyRow(SQLModel, table=True):
    """A key that opens /admin and never /v1. role: see `identity.roles`; team: of team roles, else ''."""

    __tablename__ = "role_keys"

    id: str = Field(primary_key=True)
    name: str
    role: str
    team: str = ""
    prefix: str
    digest: str = Field(unique=True)
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None


class MemberRow(SQLModel, table=True):
    """A person who signs in by OIDC, and what they may do. email: lower case; team: of team roles, else ''."""

    __tablename__ = "members"

    email: str = Field(primary_key=True)
    team: str = Field(default="", primary_key=True)
    role: str
    created_at: float
