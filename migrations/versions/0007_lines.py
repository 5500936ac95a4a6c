"""model lines: versions, scores, what changed"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def _string(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.String(), nullable=nullable)


def _text(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _number(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.Integer(), nullable=nullable)


def _real(name: str) -> sa.Column:
    return sa.Column(name, sa.Float(), nullable=False)


def upgrade() -> None:
    key = sa.PrimaryKeyConstraint
    op.create_table(
        "lines",
        *map(_string, ("name", "owner")),
        _number("champion"),
        _number("challenger", nullable=True),
        _number("previous", nullable=True),
        _real("canary"),
        _text("teams"),
        _text("successor", nullable=True),
        _number("revision"),
        _real("created_at"),
        key("name"),
    )
    op.create_table(
        "line_versions",
        _string("line"),
        _number("number"),
        *map(_string, ("model", "upstream", "base")),
        _number("parent", nullable=True),
        *map(_string, ("job_id", "training_file", "dataset_hash")),
        *map(_text, ("hyperparameters", "checkpoints")),
        sa.Column("trained_tokens", sa.BigInteger(), nullable=True),
        sa.Column("cost_nano_usd", sa.BigInteger(), nullable=True),
        *map(_string, ("owner", "created_by")),
        _real("created_at"),
        _string("shutdown_date", nullable=True),
        _text("notes"),
        key("line", "number"),
    )
    op.create_index("line_versions_model", "line_versions", ["model"])
    op.create_table(
        "line_scores",
        *map(_string, ("id", "line")),
        _number("number"),
        *map(_string, ("set_hash", "source")),
        _real("mean"),
        _number("items"),
        _text("scores"),
        _real("created_at"),
        key("id"),
    )
    op.create_index("line_scores_of", "line_scores", ["line", "number", "set_hash"])
    op.create_table(
        "line_events",
        *map(_string, ("id", "line")),
        _number("revision"),
        _real("at"),
        *map(_string, ("actor", "action")),
        _text("detail"),
        key("id"),
    )
    op.create_index("line_events_of", "line_events", ["line", "revision"])


def downgrade() -> None:
    for table in ("line_events", "line_scores", "line_versions", "lines"):
        op.drop_table(table)
