"""batches, and what their lines were answered until that is in a file"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def _string(name: str) -> sa.Column:
    return sa.Column(name, sa.String(), nullable=False)


def _text(name: str) -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=False)


def _count(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.Integer(), nullable=nullable)


def _is(name: str) -> sa.Column:
    return sa.Column(name, sa.Boolean(), nullable=False)


def _time(name: str, *, nullable: bool = True) -> sa.Column:
    return sa.Column(name, sa.Float(), nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "batches",
        *map(_string, ("id", "team")),
        _text("principal"),
        *map(_string, ("endpoint", "input_file_id", "status")),
        _text("metadata"),
        _time("created_at", nullable=False),
        _time("expires_at", nullable=False),
        *map(_string, ("output_id", "error_id")),
        _count("output_seconds", nullable=True),
        *map(_is, ("has_output", "has_errors")),
        *map(_count, ("total", "completed", "failed")),
        _string("model"),
        *map(_text, ("errors", "usage")),
        *map(_string, ("upstream", "upstream_id", "ending")),
        *map(_time, ("in_progress_at", "finalizing_at", "completed_at", "failed_at", "expired_at")),
        *map(_time, ("cancelling_at", "cancelled_at")),
        _string("holder"),
        _time("held_until"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("batches_team_at", "batches", ["team", "created_at", "id"])
    op.create_index("batches_status", "batches", ["status", "created_at"])
    op.create_table(
        "batch_answers",
        _string("batch_id"),
        _count("number"),
        _is("is_error"),
        _text("line"),
        sa.PrimaryKeyConstraint("batch_id", "number"),
    )


def downgrade() -> None:
    op.drop_table("batch_answers")
    op.drop_table("batches")
