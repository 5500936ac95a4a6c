"""Tables that belong to no one package."""

from sqlalchemy import BigInteger, Column, Index, Text
from sqlmodel import Field, SQLModel


class ChangeRow(SQLModel, table=True):
    """A counter per subject; whoever changes the subject adds one, and every process notices."""

    __tablename__ = "changes"

    subject: str = Field(primary_key=True)
    version: int = Field(sa_column=Column(BigInteger, nullable=False))


class AuditRow(SQLModel, table=True):
    """A change that somebody made. Only ever added: the database refuses to change or delete a row.

    actor: `admin`, `cli:<user>`, `key:<id>`, `oidc:<email>` or `policy` (a file under policies/). detail: JSON.
    """

    __tablename__ = "audit_events"
    __table_args__ = (Index("audit_events_at", "at"), Index("audit_events_subject", "subject"))

    id: str = Field(primary_key=True)
    at: float
    actor: str
    action: str
    subject: str
    detail: str = Field(sa_column=Column(Text, nullable=False))


class FloorRow(SQLModel, table=True):
    """One row: the oldest revision whose code can work on this schema (expand and contract)."""

    __tablename__ = "schema_floor"

    id: int = Field(primary_key=True)
    oldest: str
