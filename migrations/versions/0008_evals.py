"""evals, their runs, the items of these, and sums of what came of them"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def _string(name: str) -> sa.Column:
    return sa.Column(name, sa.String(), nullable=False)


def _text(name: str) -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=False)


def _count(name: str) -> sa.Column:
    return sa.Column(name, sa.Integer(), nullable=False)


def _large(name: str) -> sa.Column:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _time(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.Float(), nullable=nullable)


def upgrade() -> None:
    key = sa.PrimaryKeyConstraint
    op.create_table(
        "evals",
        *map(_string, ("id", "team", "name")),
        *map(_text, ("metadata", "data_source_config", "testing_criteria")),
        _time("created_at"),
        _time("updated_at"),
        key("id"),
    )
    op.create_index("evals_team_at", "evals", ["team", "created_at", "id"])
    op.create_index("evals_team_updated", "evals", ["team", "updated_at", "id"])
    op.create_table(
        "eval_runs",
        *map(_string, ("id", "eval_id", "team")),
        _text("principal"),
        _string("name"),
        *map(_text, ("metadata", "data_source")),
        *map(_string, ("model", "status")),
        _time("created_at"),
        _count("item_count"),
        _string("error_code"),
        _text("error_message"),
        key("id"),
    )
    op.create_index("eval_runs_at", "eval_runs", ["eval_id", "created_at", "id"])
    op.create_index("eval_runs_status", "eval_runs", ["status"])
    op.create_table(
        "eval_items",
        _string("run_id"),
        _count("number"),
        _string("id"),
        *map(_text, ("item", "given")),
        _string("status"),
        _text("outcome"),
        _time("created_at"),
        _count("tries"),
        _time("held_until", nullable=True),
        key("run_id", "number"),
    )
    op.create_index("eval_items_at", "eval_items", ["run_id", "created_at", "id"])
    op.create_index("eval_items_due", "eval_items", ["status", "number"])
    op.create_index("eval_items_of", "eval_items", ["run_id", "status"])
    op.create_table(
        "eval_tallies",
        *map(_string, ("run_id", "kind", "name")),
        *map(_count, ("passed", "failed", "invocations")),
        *map(_large, ("prompt_tokens", "completion_tokens", "cached_tokens")),
        _count("unmetered"),
        key("run_id", "kind", "name"),
    )


def downgrade() -> None:
    op.drop_table("eval_tallies")
    op.drop_table("eval_items")
    op.drop_table("eval_runs")
    op.drop_table("evals")
