"""fine-tuning jobs with their events, checkpoints and models; uploads in parts; files that lie at upstreams too"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def _string(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.String(), nullable=nullable)


def _text(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _time(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.Float(), nullable=nullable)


def _number(name: str) -> sa.Column:
    return sa.Column(name, sa.Integer(), nullable=False)


def _large(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def upgrade() -> None:
    key = sa.PrimaryKeyConstraint
    op.create_table(
        "tuning_jobs",
        *map(_string, ("id", "team", "key_id", "organisation", "trainer", "serves_at", "model", "training_file")),
        _string("validation_file", nullable=True),
        _string("suffix"),
        _large("seed"),
        _string("method"),
        *map(_text, ("hyperparameters", "grader", "integrations", "metadata")),
        _time("created_at"),
        *map(_string, ("state", "wanted")),
        _string("reference", nullable=True),
        *map(_number, ("seen", "events")),
        _string("tuned_model", nullable=True),
        _large("trained_tokens", nullable=True),
        _large("estimated_tokens", nullable=True),
        _string("dataset_hash"),
        _text("resolved"),
        _text("error", nullable=True),
        _text("results"),
        _time("ended_at", nullable=True),
        _time("finished_at", nullable=True),
        _time("estimated_finish", nullable=True),
        _large("cost_nano_usd", nullable=True),
        _time("due_at", nullable=True),
        _time("held_until", nullable=True),
        *map(_number, ("tries", "quiet")),
        key("id"),
    )
    op.create_index("tuning_jobs_due", "tuning_jobs", ["due_at"])
    op.create_index("tuning_jobs_team_at", "tuning_jobs", ["team", "created_at", "id"])
    op.create_table(
        "tuning_events",
        _string("job_id"),
        _number("number"),
        _time("at"),
        _string("level"),
        _text("message"),
        _string("kind"),
        _text("data"),
        key("job_id", "number"),
    )
    op.create_table(
        "checkpoints",
        _string("job_id"),
        _number("number"),
        _time("at"),
        _number("step"),
        _string("model"),
        _text("metrics"),
        key("job_id", "number"),
    )
    op.create_index("checkpoints_model", "checkpoints", ["model"])
    op.create_table(
        "tuned_models",
        *map(_string, ("id", "team", "upstream", "base", "job_id")),
        _time("created_at"),
        _time("deleted_at", nullable=True),
        key("id"),
    )
    op.create_table("model_permissions", *map(_string, ("id", "model", "team")), _time("created_at"), key("id"))
    op.create_index("model_permissions_of", "model_permissions", ["model", "team"], unique=True)
    op.create_table("file_copies", *map(_string, ("file_id", "upstream", "upstream_id")), key("file_id", "upstream"))
    op.create_index("file_copies_at", "file_copies", ["upstream", "upstream_id"])
    _uploads()


def _uploads() -> None:
    key = sa.PrimaryKeyConstraint
    op.create_table(
        "uploads",
        *map(_string, ("id", "team", "filename", "purpose", "mime_type")),
        _large("size"),
        _time("created_at"),
        _time("expires_at"),
        _string("status"),
        _string("file_id", nullable=True),
        sa.Column("file_seconds", sa.Integer(), nullable=True),
        key("id"),
    )
    op.create_index("uploads_expire", "uploads", ["expires_at"])
    op.create_table("upload_parts", *map(_string, ("id", "upload_id")), _large("size"), _time("created_at"), key("id"))
    op.create_index("upload_parts_of", "upload_parts", ["upload_id"])
    op.create_table(
        "upload_pieces",
        _string("part_id"),
        _number("number"),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        key("part_id", "number"),
    )


def downgrade() -> None:
    for table in (
        "upload_pieces",
        "upload_parts",
        "uploads",
        "file_copies",
        "model_permissions",
        "tuned_models",
        "checkpoints",
        "tuning_events",
        "tuning_jobs",
    ):
        op.drop_table(table)
