"""Tables that belong to no one package."""

from sqlalchemy import BigInteger, Column
from sqlmodel import Field, SQLModel


class ChangeRow(SQLModel, table=True):
    """A counter per subject; whoever changes the subject adds one, and every process notices."""

    __tablename__ = "changes"

    subject: str = Field(primary_key=True)
    version: int = Field(sa_column=Column(BigInteger, nullable=False))
