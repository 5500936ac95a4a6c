"""Rows of uploaded files. The bytes are in the database too: every replica has them, and so has a backup."""

from sqlalchemy import BigInteger, Column, Index, LargeBinary
from sqlmodel import Field, SQLModel


class FileRow(SQLModel, table=True):
    """A file that is there whole. Times are Unix seconds."""

    __tablename__ = "files"
    __table_args__ = (Index("files_team_at", "team", "created_at", "id"), Index("files_expire", "expires_at"))

    id: str = Field(primary_key=True)
    team: str
    filename: str
    purpose: str
    size: int = Field(sa_column=Column(BigInteger, nullable=False))
    created_at: float
    expires_at: float | None = None


class FilePartRow(SQLModel, table=True):
    """A piece of a file. number: from 0."""

    __tablename__ = "file_parts"

    file_id: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    data: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
