"""canaries of model lines: what was seen of each version; and when upstreams say that their models end"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

COUNTS = ("calls", "errors", "formed", "malformed", "plain", "plain_json", "rated", "disliked", "slow")


def _trial() -> list[sa.Column]:
    return [
        sa.Column("line", sa.String(), nullable=False),
        sa.Column("champion", sa.Integer(), nullable=False),
        sa.Column("challenger", sa.Integer(), nullable=False),
    ]


def upgrade() -> None:
    op.create_table(
        "line_trials",
        *_trial(),
        sa.Column("began_at", sa.Float(), nullable=False),
        sa.Column("slow_seconds", sa.Float(), nullable=True),
        sa.Column("held_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("line", "champion", "challenger"),
    )
    op.create_table(
        "line_trial_counts",
        *_trial(),
        sa.Column("version", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in COUNTS),
        sa.PrimaryKeyConstraint("line", "champion", "challenger", "version"),
    )
    op.create_table(
        "upstream_shutdowns",
        sa.Column("upstream", sa.String(), nullable=False),
        sa.Column("dates", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("upstream"),
    )


def downgrade() -> None:
    for table in ("upstream_shutdowns", "line_trial_counts", "line_trials"):
        op.drop_table(table)
