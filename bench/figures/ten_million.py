"""Reports over ten million rows in PostgreSQL: what each view of a dashboard or of the command line takes."""

import asyncio
import time
from contextlib import ExitStack

from bench.client import share
from bench.postgres import connect, postgres
from bench.result import Aim, Figure, Options, Result, ms
from gateway.db.engine import Database
from gateway.db.schema import upgrade
from gateway.ledger.report import usage_report
from gateway.ledger.reports.store import ReportStore
from gateway.ledger.rollup import NAMES
from tests.fakes.postgres import Postgres

ROWS = 10_000_000
DAYS = 30
TEAMS, KEYS, MODELS = 50, 4, 12
TURNS = 10
MOST_MS = 100.0
UNKNOWN = frozenset({"line", "usage_raw", "first_byte_seconds"})
DETAILS = ("audio", "image", "accepted", "rejected", "cache_")
VIEWS: list[tuple[str, tuple[str, ...], dict[str, str]]] = [
    ("spend by team, a month", ("team",), {}),
    ("spend by day, a month", ("day",), {}),
    ("by team and model, a month", ("team", "model"), {}),
    ("by path and rule, a week", ("path", "rule"), {"since": "2026-11-10", "until": "2026-11-17"}),
    ("one team's keys, a month", ("key_id",), {"team": "team-7"}),
    ("one team by day and model", ("day", "model"), {"team": "team-7"}),
    ("totals of a day", (), {"since": "2026-11-12", "until": "2026-11-13"}),
]


def run(options: Options) -> Result:
    """Rows of a month over 50 teams of four keys and 12 models, made in the database; then each view ten times."""
    rows = ROWS if options.seconds >= 4 else ROWS // 100
    result = Result(["view", "lines", "p50 ms", "slowest ms"], [])
    with ExitStack() as stack:
        server = stack.enter_context(postgres())
        taken, sums = asyncio.run(_measured(server, rows))
    for name, (lines, seconds) in taken.items():
        result.rows.append([name, f"{lines:,}", ms(share(seconds, 0.5) * 1000), ms(max(seconds) * 1000)])
    slowest = max(share(seconds, 0.5) for _, seconds in taken.values()) * 1000
    result.aims.append(
        Aim(f"every dashboard query < 100 ms at {rows / 1e6:g} million events", f"{slowest:.0f} ms", slowest < MOST_MS)
    )
    result.notes.append(
        f"{rows:,} rows in usage_events and {sums:,} in usage_rollups; PostgreSQL as the wheel sets it up."
    )
    result.numbers |= {"rows": rows, "rollups": sums, "slowest_p50_ms": slowest}
    return result


async def _measured(server: Postgres, rows: int) -> tuple[dict[str, tuple[int, list[float]]], int]:
    url = server.fresh()
    database = Database(url)
    await upgrade(database)
    connection = await connect(server, url)
    await connection.execute("SET synchronous_commit = off")
    columns = await connection.fetch(
        "SELECT column_name AS name, data_type AS kind FROM information_schema.columns "
        "WHERE table_name = 'usage_events' ORDER BY ordinal_position"
    )
    step = 500_000
    for start in range(0, rows, step):
        await connection.execute(_rows_sql(columns, start, min(step, rows - start)))
    await connection.execute(_sums_sql(await _sum_columns(connection)))
    await connection.execute("ANALYZE")
    sums = int(await connection.fetchval("SELECT count(*) FROM usage_rollups"))
    await connection.close()
    store = ReportStore(database)
    taken: dict[str, tuple[int, list[float]]] = {}
    for name, by, more in VIEWS:
        span = {"since": "2026-11-01", "until": "2026-12-01"} | more
        seconds = []
        for _ in range(TURNS):
            begun = time.perf_counter()
            report = await usage_report(store, by, **span)
            seconds.append(time.perf_counter() - begun)
        taken[name] = (len(report.lines), seconds)
    await database.close()
    return taken, sums


def _rows_sql(columns: list[dict[str, str]], start: int, count: int) -> str:
    first_day = "1793491200.0"  # 2026-11-01 UTC
    made = {
        "id": "'call_' || n || '.1'",
        "call_id": "'call_' || n",
        "attempt": "1",
        "last": "true",
        "at": f"{first_day} + (n % {DAYS}) * 86400.0 + (n % 86399)",
        "team": f"'team-' || (n / 7 % {TEAMS})",
        "key_id": f"'key-' || (n / 7 % {TEAMS}) || '-' || (n / 11 % {KEYS})",
        "endpoint": "'chat'",
        "asked_model": "'auto'",
        "path": "(ARRAY['direct', 'rag', 'fine_tuned'])[n / 13 % 3 + 1]",
        "upstream": "'main'",
        "model": f"'model-' || (n / 17 % {MODELS})",
        "rule": "'rule-' || (n / 13 % 3)",
        "outcome": "'ok'",
        "status": "200",
        "stream": "false",
        "input_tokens": "100 + n % 1000",
        "output_tokens": "n % 500",
        "cached_tokens": "0",
        "reasoning_tokens": "0",
        "cost_nano_usd": "1000 + n % 100000",
        "cost_by_kind": "'{}'",
        "cost_status": "'priced'",
        "usage_source": "'provider'",
        "metadata": "'{}'",
    }
    values = []
    for column in columns:
        name, kind = column["name"], column["kind"]
        empty = "''" if kind in {"text", "character varying"} else "0"
        nullable = name in UNKNOWN or name.startswith(DETAILS)
        values.append(made.get(name, "NULL" if nullable else empty))
    names = ", ".join(f'"{column["name"]}"' for column in columns)
    series = f"generate_series({start}::bigint, {start + count - 1}::bigint) AS n"
    return f"INSERT INTO usage_events ({names}) SELECT {', '.join(values)} FROM {series}"


async def _sum_columns(connection: object) -> list[str]:
    query = "SELECT column_name FROM information_schema.columns WHERE table_name = 'usage_rollups' ORDER BY 1"
    return [row[0] for row in await connection.fetch(query)]  # type: ignore[attr-defined]


def _sums_sql(columns: list[str]) -> str:
    names = [name for name in NAMES if name != "day"]
    day = "to_char(timezone('UTC', to_timestamp(at)), 'YYYY-MM-DD')"
    groups = [day, *("coalesce(line, '')" if name == "line" else name for name in names)]
    joined = " || chr(31) || ".join(groups)
    made = {"id": f"md5({joined})", "day": day, "calls": "count(*)", "attempts": "count(*)"}
    made |= dict(zip(names, groups[1:], strict=True))
    summed = {"input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "context_tokens", "cost_nano_usd"}
    made |= {name: f"coalesce(sum({name}), 0)::bigint" for name in summed}
    values = ", ".join(made.get(name, "0") for name in columns)
    source = f"SELECT {values} FROM usage_events GROUP BY {', '.join(groups)}"
    return f"INSERT INTO usage_rollups ({', '.join(columns)}) {source}"


FIGURE = Figure("Reports over ten million rows", run)
