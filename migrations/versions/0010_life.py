"""captured calls, feedback, and plans of retraining"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def _string(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.String(), nullable=nullable)


def _text(name: str) -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=False)


def _real(name: str) -> sa.Column:
    return sa.Column(name, sa.Float(), nullable=False)


def upgrade() -> None:
    key = sa.PrimaryKeyConstraint
    op.create_table(
        "captured_calls",
        *map(_string, ("id", "decision_id", "response_id")),
        *map(_real, ("at", "expires_at")),
        *map(_string, ("team", "key_id", "endpoint", "path", "rule")),
        _string("line", nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        _string("model"),
        sa.Column("status", sa.Integer(), nullable=False),
        *map(_string, ("finish_reason", "conversation")),
        *map(_text, ("messages", "tools", "response_format", "answer")),
        sa.Column("is_redacted", sa.Boolean(), nullable=False),
        key("id"),
    )
    op.create_index("captured_calls_team_at", "captured_calls", ["team", "at", "id"])
    op.create_index("captured_calls_decision", "captured_calls", ["decision_id"])
    op.create_index("captured_calls_response", "captured_calls", ["response_id"])
    op.create_index("captured_calls_expire", "captured_calls", ["expires_at"])
    op.create_table(
        "feedback",
        *map(_string, ("call_id", "decision_id", "team", "key_id")),
        *map(_real, ("at", "called_at", "score")),
        *map(_text, ("comment", "corrected")),
        _string("line", nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        _string("model"),
        key("call_id"),
    )
    op.create_index("feedback_team_at", "feedback", ["team", "at", "call_id"])
    op.create_index("feedback_line", "feedback", ["line", "version", "called_at"])
    op.create_table(
        "retrain_plans",
        *map(_string, ("id", "line", "actor")),
        _text("arguments"),
        _string("state"),
        _text("done"),
        _text("error"),
        *map(_real, ("created_at", "updated_at")),
        key("id"),
    )
    op.create_index("retrain_plans_line", "retrain_plans", ["line", "created_at"])


def downgrade() -> None:
    for table in ("retrain_plans", "feedback", "captured_calls"):
        op.drop_table(table)
