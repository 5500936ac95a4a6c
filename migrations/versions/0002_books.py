"""books: rollups, adjustments, budgets and leases, roles, audit; usage and decisions by month on PostgreSQL"""

import hashlib
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Code of this revision or later can work on this schema: an older one would look for rows by `id` alone.
OLDEST_CODE = "0002"
MONTHS_AHEAD = 2
ROLLUP_NAMES = (
    "day",
    "organisation",
    "team",
    "key_id",
    "endpoint",
    "path",
    "upstream",
    "model",
    "line",
    "rule",
    "collections",
    "service_tier",
)


def upgrade() -> None:
    postgres = op.get_bind().dialect.name == "postgresql"
    _widen(postgres=postgres)
    _tables()
    _roll_up(postgres=postgres)
    _append_only(postgres=postgres)
    op.execute(sa.text("INSERT INTO schema_floor (id, oldest) VALUES (1, :oldest)").bindparams(oldest=OLDEST_CODE))


def _widen(*, postgres: bool) -> None:
    for table, columns in (
        ("teams", [sa.Column("organisation", sa.String(), nullable=False, server_default="")]),
        (
            "api_keys",
            [
                sa.Column("allowed_models", sa.Text(), nullable=False, server_default="[]"),
                sa.Column("allowed_paths", sa.Text(), nullable=False, server_default="[]"),
                sa.Column("metadata", sa.Text(), nullable=False, server_default="{}"),
                sa.Column("lifetime_seconds", sa.Float(), nullable=True),
            ],
        ),
        (
            "usage_events",
            [
                sa.Column("organisation", sa.String(), nullable=False, server_default=""),
                *(sa.Column(f"{name}_tokens", sa.BigInteger(), nullable=True) for name in DETAILS),
                sa.Column("service_tier", sa.String(), nullable=False, server_default=""),
                sa.Column("pools", sa.Text(), nullable=False, server_default=""),
            ],
        ),
    ):
        for column in columns:
            op.add_column(table, column)
    if postgres:
        _partition(
            "usage_events", ix_usage_events_call_id="call_id", usage_events_at="at", usage_events_team_at="team, at"
        )
        _partition("decisions", ix_decisions_call_id="call_id", ix_decisions_at="at")


DETAILS = (
    "audio_input",
    "audio_output",
    "image_input",
    "image_output",
    "accepted_prediction",
    "rejected_prediction",
)


def _partition(table: str, **indexes: str) -> None:
    """The table anew, in parts by month. Its rows are moved: before this revision there was no release."""
    run = op.execute
    run(f"ALTER TABLE {table} RENAME TO {table}_whole")
    run(f"CREATE TABLE {table} (LIKE {table}_whole INCLUDING DEFAULTS) PARTITION BY RANGE (at)")
    bounds = op.get_bind().execute(sa.text(f"SELECT min(at), max(at) FROM {table}_whole")).one()  # noqa: S608
    now = datetime.now(UTC).timestamp()
    first = datetime.fromtimestamp(min(now, bounds[0] if bounds[0] is not None else now), UTC)
    last = datetime.fromtimestamp(max(now, bounds[1] if bounds[1] is not None else now), UTC)
    year, month = first.year, first.month
    while (year, month) <= _later(last.year, last.month, MONTHS_AHEAD):
        after = _later(year, month, 1)
        start, end = (datetime(y, m, 1, tzinfo=UTC).timestamp() for y, m in ((year, month), after))
        run(f"CREATE TABLE {table}_{year}_{month:02d} PARTITION OF {table} FOR VALUES FROM ({start}) TO ({end})")
        year, month = after
    run(f"CREATE TABLE {table}_rest PARTITION OF {table} DEFAULT")
    run(f"INSERT INTO {table} SELECT * FROM {table}_whole")  # noqa: S608
    run(f"DROP TABLE {table}_whole")
    run(f"ALTER TABLE {table} ADD PRIMARY KEY (id, at)")
    for name, columns in indexes.items():
        run(f"CREATE INDEX {name} ON {table} ({columns})")


def _later(year: int, month: int, months: int) -> tuple[int, int]:
    whole = year * 12 + month - 1 + months
    return whole // 12, whole % 12 + 1


def _string(name: str, **more: object) -> sa.Column:
    return sa.Column(name, sa.String(), nullable=False, **more)


def _big(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _time(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.Float(), nullable=nullable)


def _text(name: str) -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=False)


def _tables() -> None:
    key = sa.PrimaryKeyConstraint
    op.create_table(
        "usage_rollups",
        _string("id"),
        *(_text(name) if name == "collections" else _string(name) for name in ROLLUP_NAMES),
        *(_big(name) for name in SUMS),
        key("id"),
    )
    op.create_index("usage_rollups_day", "usage_rollups", ["day"])
    op.create_index("usage_rollups_team_day", "usage_rollups", ["team", "day"])
    op.create_table(
        "adjustments",
        *map(_string, ("id", "run", "event_id")),
        _time("event_at"),
        _time("at"),
        _string("team"),
        _big("delta_nano_usd"),
        sa.Column("gives_price", sa.Boolean(), nullable=False),
        *map(_string, ("price_source", "actor")),
        _text("reason"),
        key("id"),
    )
    op.create_index("adjustments_event", "adjustments", ["event_id"])
    op.create_index("adjustments_team_at", "adjustments", ["team", "event_at"])
    op.create_table(
        "budgets",
        *map(_string, ("id", "scope", "name", "window", "time_zone")),
        _big("limit_nano_usd"),
        sa.Column("is_hard", sa.Boolean(), nullable=False),
        *map(_string, ("thresholds", "webhook")),
        _time("created_at"),
        key("id"),
    )
    op.create_index("budgets_of", "budgets", ["scope", "name", "window", "time_zone"], unique=True)
    op.create_table(
        "budget_pools",
        _string("id"),
        _string("budget_id"),
        _time("starts_at"),
        *map(_big, ("base_nano_usd", "spent_nano_usd", "wanted")),
        _string("told"),
        key("id"),
    )
    op.create_index("ix_budget_pools_budget_id", "budget_pools", ["budget_id"])
    op.create_table(
        "budget_leases",
        _string("pool_id"),
        _string("replica"),
        *map(_big, ("granted_nano_usd", "shipped_nano_usd", "seen")),
        key("pool_id", "replica"),
    )
    op.create_index("ix_budget_leases_replica", "budget_leases", ["replica"])
    op.create_table(
        "replicas", _string("id"), _time("started_at"), _time("seen_at"), _time("closed_at", nullable=True), key("id")
    )
    op.create_table(
        "open_intents",
        _string("id"),
        _string("replica"),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        key("id"),
    )
    op.create_index("ix_open_intents_replica", "open_intents", ["replica"])
    op.create_table(
        "webhook_deliveries",
        *map(_string, ("id", "url")),
        _text("body"),
        _time("created_at"),
        _time("due_at", nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        _time("delivered_at", nullable=True),
        _string("fault"),
        key("id"),
    )
    op.create_index("webhook_deliveries_due", "webhook_deliveries", ["due_at"])
    op.create_table(
        "watched_jobs",
        *map(_string, ("id", "kind", "upstream", "team", "key_id", "organisation", "model")),
        _time("created_at"),
        _time("ended_at", nullable=True),
        _time("due_at", nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        _time("held_until", nullable=True),
        sa.Column("metadata", sa.Text(), nullable=False, server_default="{}"),
        key("id"),
    )
    op.create_index("watched_jobs_due", "watched_jobs", ["due_at"])
    op.create_table(
        "rate_limits",
        *map(_string, ("scope", "name")),
        sa.Column("requests_per_minute", sa.Integer(), nullable=True),
        _big("tokens_per_minute", nullable=True),
        sa.Column("concurrency", sa.Integer(), nullable=True),
        key("scope", "name"),
    )
    op.create_table(
        "role_keys",
        *map(_string, ("id", "name", "role", "team", "prefix", "digest")),
        _time("created_at"),
        _time("expires_at", nullable=True),
        _time("revoked_at", nullable=True),
        key("id"),
        sa.UniqueConstraint("digest"),
    )
    op.create_table("members", *map(_string, ("email", "team", "role")), _time("created_at"), key("email", "team"))
    op.create_table(
        "audit_events",
        _string("id"),
        _time("at"),
        *map(_string, ("actor", "action", "subject")),
        _text("detail"),
        key("id"),
    )
    op.create_index("audit_events_at", "audit_events", ["at"])
    op.create_index("audit_events_subject", "audit_events", ["subject"])
    op.create_table("schema_floor", sa.Column("id", sa.Integer(), nullable=False), _string("oldest"), key("id"))


SUMS = (
    "calls",
    "attempts",
    "input_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "context_tokens",
    "cost_nano_usd",
    "input_nano_usd",
    "cached_nano_usd",
    "output_nano_usd",
    "other_nano_usd",
    "adjusted_nano_usd",
    "unpriced",
    "priced_later",
    "estimated",
)


def _roll_up(*, postgres: bool) -> None:
    """Sums of the rows that are there already. Written out here: a migration must not change with the code."""
    if postgres:
        day = "to_char(timezone('UTC', to_timestamp(at)), 'YYYY-MM-DD')"
        cost = "coalesce((cost_by_kind::json ->> '{}')::bigint, 0)"
    else:
        day = "strftime('%Y-%m-%d', at, 'unixepoch')"
        cost = "coalesce(json_extract(cost_by_kind, '$.{}'), 0)"
    spoken = f"{cost.format('output')} + {cost.format('reasoning')}"
    total = "coalesce(cost_nano_usd, 0)"
    sums = (
        "CASE WHEN last THEN 1 ELSE 0 END",
        "CASE WHEN attempt > 0 THEN 1 ELSE 0 END",
        *(f"coalesce({name}, 0)" for name in SUMS[2:8]),
        total,
        cost.format("input"),
        cost.format("cached"),
        spoken,
        f"{total} - {cost.format('input')} - {cost.format('cached')} - ({spoken})",
        "0",
        "CASE WHEN cost_status = 'unpriced' THEN 1 ELSE 0 END",
        "0",
        "CASE WHEN usage_source = 'estimated' THEN 1 ELSE 0 END",
    )
    names = [day, *("coalesce(line, '')" if name == "line" else name for name in ROLLUP_NAMES[1:])]
    query = f"SELECT {', '.join(names)}, {', '.join(f'sum({one})' for one in sums)} FROM usage_events"  # noqa: S608
    query += " GROUP BY " + ", ".join(str(place) for place in range(1, len(names) + 1))
    table = sa.table("usage_rollups", *map(sa.column, ("id", *ROLLUP_NAMES, *SUMS)))
    rows = []
    for row in op.get_bind().execute(sa.text(query)):
        named = dict(zip(ROLLUP_NAMES, row, strict=False))
        joined = "\x1f".join(str(named[name]) for name in ROLLUP_NAMES)
        made = {"id": hashlib.blake2b(joined.encode(), digest_size=16).hexdigest(), **named}
        rows.append(made | {name: int(value) for name, value in zip(SUMS, row[len(ROLLUP_NAMES) :], strict=True)})
    if rows:
        op.bulk_insert(table, rows)


def _append_only(*, postgres: bool) -> None:
    """What happened cannot be edited away, not even by who holds the gateway's own database account."""
    for table in ("audit_events", "adjustments"):
        if postgres:
            op.execute(
                f"CREATE FUNCTION {table}_stays() RETURNS trigger LANGUAGE plpgsql AS "
                f"$$ BEGIN RAISE EXCEPTION '{table} is append-only'; END $$"
            )
            op.execute(
                f"CREATE TRIGGER {table}_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
                f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_stays()"
            )
            continue
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_stays_{change.lower()} BEFORE {change} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )


def downgrade() -> None:
    raise NotImplementedError("the books are not made smaller; restore a backup from before the upgrade")
