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


class FileCopyRow(SQLModel, table=True):
    """Where a file of ours lies at an upstream too, for a job or a batch there.

    team: whose it is, also when the file here was deleted; NULL of a row that an older version wrote.
    """

    __tablename__ = "file_copies"
    __table_args__ = (
        Index("file_copies_at", "upstream", "upstream_id"),
        Index("file_copies_there", "upstream_id"),
    )

    file_id: str = Field(primary_key=True)
    upstream: str = Field(primary_key=True)
    upstream_id: str
    team: str | None = None


class UploadRow(SQLModel, table=True):
    """A file that comes in parts. size: as announced. file_id: once it is complete."""

    __tablename__ = "uploads"
    __table_args__ = (Index("uploads_expire", "expires_at"),)

    id: str = Field(primary_key=True)
    team: str
    filename: str
    purpose: str
    mime_type: str
    size: int = Field(sa_column=Column(BigInteger, nullable=False))
    created_at: float
    expires_at: float
    status: str
    file_id: str | None = None
    file_seconds: int | None = None


class UploadPartRow(SQLModel, table=True):
    """A part of an upload, whole."""

    __tablename__ = "upload_parts"
    __table_args__ = (Index("upload_parts_of", "upload_id"),)

    id: str = Field(primary_key=True)
    upload_id: str
    size: int = Field(sa_column=Column(BigInteger, nullable=False))
    created_at: float


class UploadPieceRow(SQLModel, table=True):
    """A piece of a part. number: from 0."""

    __tablename__ = "upload_pieces"

    part_id: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    data: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
