"""answers: the documents in their prompts, and the questions that no collection answered"""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

MONTHS_AHEAD = 2


def upgrade() -> None:
    op.create_table(
        "answer_sources",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("call_id", sa.String(), nullable=False),
        sa.Column("team", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("collection", sa.String(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("cited", sa.Boolean(), nullable=True),
        sa.PrimaryKeyConstraint("id", "at"),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_index("ix_answer_sources_at", "answer_sources", ["at"])
    op.create_index("answer_sources_document", "answer_sources", ["document", "at"])
    op.create_table(
        "knowledge_gaps",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("team", sa.String(), nullable=False),
        sa.Column("collections", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("score", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", "at"),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_index("ix_knowledge_gaps_at", "knowledge_gaps", ["at"])
    if op.get_bind().dialect.name == "postgresql":
        for table in ("answer_sources", "knowledge_gaps"):
            _months(table)


def _months(table: str) -> None:
    """Parts for this month and those ahead, and one for all the rest; later ones are made by the gateway's upkeep."""
    now = datetime.now(UTC)
    for ahead in range(MONTHS_AHEAD + 1):
        (year, month), after = _later(now.year, now.month, ahead), _later(now.year, now.month, ahead + 1)
        start, end = (datetime(y, m, 1, tzinfo=UTC).timestamp() for y, m in ((year, month), after))
        name = f"{table}_{year}_{month:02d}"
        op.execute(f"CREATE TABLE {name} PARTITION OF {table} FOR VALUES FROM ({start}) TO ({end})")
    op.execute(f"CREATE TABLE {table}_rest PARTITION OF {table} DEFAULT")


def _later(year: int, month: int, months: int) -> tuple[int, int]:
    whole = year * 12 + month - 1 + months
    return whole // 12, whole % 12 + 1


def downgrade() -> None:
    raise NotImplementedError("the books are not made smaller; restore a backup from before the upgrade")
