"""uploaded files; vector stores, the files in them, and their batches"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def _string(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.String(), nullable=nullable)


def _text(name: str) -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=False)


def _time(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.Float(), nullable=nullable)


def upgrade() -> None:
    key = sa.PrimaryKeyConstraint
    op.create_table(
        "files",
        *map(_string, ("id", "team", "filename", "purpose")),
        sa.Column("size", sa.BigInteger(), nullable=False),
        _time("created_at"),
        _time("expires_at", nullable=True),
        key("id"),
    )
    op.create_index("files_team_at", "files", ["team", "created_at", "id"])
    op.create_index("files_expire", "files", ["expires_at"])
    op.create_table(
        "file_parts",
        _string("file_id"),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        key("file_id", "number"),
    )
    op.create_table(
        "vector_stores",
        *map(_string, ("id", "team", "name", "description")),
        _text("metadata"),
        sa.Column("expires_days", sa.Integer(), nullable=True),
        _time("last_active_at"),
        _time("created_at"),
        _time("swept_at", nullable=True),
        key("id"),
    )
    op.create_index("vector_stores_team_at", "vector_stores", ["team", "created_at", "id"])
    op.create_table(
        "vector_store_files",
        *map(_string, ("vector_store_id", "file_id")),
        _time("created_at"),
        _string("status"),
        _string("error_code", nullable=True),
        _string("error_message", nullable=True),
        sa.Column("usage_bytes", sa.BigInteger(), nullable=False),
        _text("attributes"),
        _text("chunking"),
        _string("batch_id", nullable=True),
        _string("made"),
        sa.Column("tries", sa.Integer(), nullable=False),
        _time("held_until", nullable=True),
        _time("deleted_at", nullable=True),
        key("vector_store_id", "file_id"),
    )
    op.create_index("vector_store_files_at", "vector_store_files", ["vector_store_id", "created_at", "file_id"])
    op.create_index("vector_store_files_due", "vector_store_files", ["status", "held_until"])
    op.create_index("vector_store_files_of", "vector_store_files", ["file_id"])
    op.create_table(
        "file_batches",
        *map(_string, ("id", "vector_store_id")),
        _time("created_at"),
        _time("cancelled_at", nullable=True),
        key("id"),
    )
    op.create_table("file_batch_files", *map(_string, ("batch_id", "file_id", "status")), key("batch_id", "file_id"))


def downgrade() -> None:
    op.drop_table("file_batch_files")
    op.drop_table("file_batches")
    op.drop_table("vector_store_files")
    op.drop_table("vector_stores")
    op.drop_table("file_parts")
    op.drop_table("files")
