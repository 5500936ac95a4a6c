"""Rows of vector stores, the files in them, and batches of these. Times are Unix seconds."""

from sqlalchemy import BigInteger, Column, Index, Text
from sqlmodel import Field, SQLModel


class VectorStoreRow(SQLModel, table=True):
    """A vector store. team: whose it is; '' for a collection of knowledge.yaml, whose readers stand there."""

    __tablename__ = "vector_stores"
    __table_args__ = (Index("vector_stores_team_at", "team", "created_at", "id"),)

    id: str = Field(primary_key=True)
    team: str
    name: str
    description: str
    metadata_json: str = Field(sa_column=Column("metadata", Text, nullable=False))
    expires_days: int | None = None
    last_active_at: float
    created_at: float
    swept_at: float | None = None


class StoreFileRow(SQLModel, table=True):
    """A file in a vector store. made: grows with each time that it is put in; who loads an older one has lost.

    status: in_progress, completed, cancelled or failed. chunking: JSON, 'null' for our own. deleted_at: the row stays
    for a while as the place of a cursor. held_until: one process loads it till then.
    """

    __tablename__ = "vector_store_files"
    __table_args__ = (
        Index("vector_store_files_at", "vector_store_id", "created_at", "file_id"),
        Index("vector_store_files_due", "status", "held_until"),
        Index("vector_store_files_of", "file_id"),
    )

    vector_store_id: str = Field(primary_key=True)
    file_id: str = Field(primary_key=True)
    created_at: float
    status: str
    error_code: str | None = None
    error_message: str | None = None
    usage_bytes: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    attributes: str = Field(sa_column=Column(Text, nullable=False))
    chunking: str = Field(sa_column=Column(Text, nullable=False))
    batch_id: str | None = None
    made: str
    tries: int = 0
    held_until: float | None = None
    deleted_at: float | None = None


class FileBatchRow(SQLModel, table=True):
    """Files that were put into a vector store together."""

    __tablename__ = "file_batches"

    id: str = Field(primary_key=True)
    vector_store_id: str
    created_at: float
    cancelled_at: float | None = None


class BatchFileRow(SQLModel, table=True):
    """What became of a file of a batch, also when it was put into the store again by another since."""

    __tablename__ = "file_batch_files"

    batch_id: str = Field(primary_key=True)
    file_id: str = Field(primary_key=True)
    status: str
