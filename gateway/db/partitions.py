"""The large tables kept in shape: months made ahead of need, old ones dropped whole.

On PostgreSQL usage and decisions are in parts by month. On SQLite they are not, and old rows go in small batches.
Sums by day and adjustments are never touched: a report of an old month stays what it was.
"""

import asyncio
import logging
import random
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import msgspec
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.core.errors import BadConfiguration
from gateway.core.values import Value
from gateway.db.engine import Database

TABLES = ("usage_events", "decisions", "answer_sources", "knowledge_gaps")
MONTHS_AHEAD = 2
# Whoever waits for a table's lock holds up all who come after it: this is the longest a writer can be held up.
LOCK_SECONDS = 1
TRIES = 8
# Of concurrent changers one works and the others find the work done.
LOCK = 7_202_611_24
ROWS_AT_ONCE = 1_000
REST_SECONDS = 0.02
DAY_SECONDS = 86_400.0
AGAIN_SECONDS = 600.0
# lock_not_available, deadlock_detected, query_canceled.
BUSY = frozenset({"55P03", "40P01", "57014"})
_PART = re.compile(r"_(\d{4})_(\d{2})$")

log = logging.getLogger("gateway.db")
Month = tuple[int, int]


class Upkeep(Value, frozen=True):
    """What was done, or with `dry_run` would be. cutoff: Unix seconds before which rows go; None when all are kept.

    made, dropped: names of parts. deleted_rows: by table, rows that no month holds (or any, on SQLite). postponed:
    parts whose lock could not be had in time; nothing is lost, and the next run tries again.
    """

    cutoff: float | None
    made: tuple[str, ...]
    dropped: tuple[str, ...]
    deleted_rows: dict[str, int]
    postponed: tuple[str, ...]


async def keep_up(database: Database, now: float, months: int | None, *, dry_run: bool = False) -> Upkeep:
    """Makes the months ahead, and drops those that are over for more than `months` whole months.

    months: None keeps all. Raises BadConfiguration for less than 1, and SQLAlchemyError when the database is away.
    """
    if months is not None and months < 1:
        raise BadConfiguration([f"The months to keep are {months}; they must be 1 or more, beside the month of now."])
    this = _month_of(now)
    cutoff = None if months is None else _start(_later(this, -months))
    deleted: dict[str, int] = {}
    if database.dialect != "postgresql":
        for table in TABLES if cutoff is not None else ():
            deleted[table] = await _delete(database, table, "rowid", cutoff or 0.0, dry_run=dry_run)
        return Upkeep(cutoff, (), (), deleted, ())
    done: dict[str, list[str]] = {"made": [], "dropped": [], "postponed": []}
    for table in TABLES:
        parts = await _parts(database, table)
        changes = [
            ("made", _name(table, month), _maker(database, table, month))
            for month in await _missing(database, table, parts, this, cutoff)
        ]
        over = [month for month in sorted(parts) if cutoff is not None and _start(_later(month, 1)) <= cutoff]
        changes += [("dropped", parts[month], _dropper(database, table, parts[month])) for month in over]
        for kind, name, change in changes:
            is_done = dry_run or await _patiently(change, name)
            done[kind if is_done else "postponed"].append(name)
        if cutoff is not None:
            rest = f"{table}_rest"
            deleted[rest] = await _delete(database, rest, "ctid", cutoff, dry_run=dry_run)
    return Upkeep(cutoff, tuple(done["made"]), tuple(done["dropped"]), deleted, tuple(done["postponed"]))


def _month_of(wall: float) -> Month:
    moment = datetime.fromtimestamp(wall, UTC)
    return moment.year, moment.month


def _later(month: Month, months: int) -> Month:
    whole = month[0] * 12 + month[1] - 1 + months
    return whole // 12, whole % 12 + 1


def _start(month: Month) -> float:
    return datetime(*month, 1, tzinfo=UTC).timestamp()


def _name(table: str, month: Month) -> str:
    return f"{table}_{month[0]}_{month[1]:02d}"


async def _parts(database: Database, table: str) -> dict[Month, str]:
    """The attached parts by their month; parts that somebody else made and named are left to them."""
    query = "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
    async with database.session() as session:
        found = await session.execute(text(query + "WHERE i.inhparent = to_regclass(:name)"), {"name": table})
        names = [str(row[0]) for row in found]
    matched = [(name, _PART.search(name)) for name in names if name.startswith(f"{table}_")]
    return {(int(match[1]), int(match[2])): name for name, match in matched if match is not None}


async def _missing(
    database: Database, table: str, parts: dict[Month, str], this: Month, cutoff: float | None
) -> list[Month]:
    """Months ahead without a part, and months before in which rows lie that no part holds (it was made too late)."""
    end = _later(this, MONTHS_AHEAD + 1)
    wanted = {_later(this, ahead) for ahead in range(MONTHS_AHEAD + 1)}
    # Rows of a clock that stands at 1970 stay in the rest: a part for each odd clock would be many parts.
    since = max(cutoff or 0.0, _start(_later(this, -24)))
    query = (
        "SELECT DISTINCT to_char(timezone('UTC', to_timestamp(at)), 'YYYY-MM') "  # noqa: S608  # our own name
        f"FROM {table}_rest WHERE at >= :since AND at < :until"
    )
    async with database.session() as session:
        found = await session.execute(text(query), {"since": since, "until": _start(end)})
        for (written,) in found:
            year, _, month = str(written).partition("-")
            wanted.add((int(year), int(month)))
    return sorted(wanted - parts.keys())


async def _patiently(change: Callable[[], Awaitable[None]], name: str) -> bool:
    """Tries a change until its locks can be had; False when all tries are used up."""
    for attempt in range(TRIES):
        if attempt:
            # Between tries writers go on; the pause is drawn so that it does not fall in step with theirs.
            await asyncio.sleep(min(0.1 * 2**attempt, 5.0) * random.uniform(0.5, 1.0))  # noqa: S311  # a pause
        try:
            await change()
        except DBAPIError as fault:
            if getattr(fault.orig, "sqlstate", None) not in BUSY:
                raise
        else:
            return True
    log.warning("part_postponed", extra={"fields": {"part": name, "tries": TRIES}})
    return False


async def _begin(session: AsyncSession) -> None:
    await session.execute(text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
    await session.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))


def _maker(database: Database, table: str, month: Month) -> Callable[[], Awaitable[None]]:
    """Makes a month beside the table and then attaches it: that holds up writers for milliseconds and no reader."""
    name, rest = _name(table, month), f"{table}_rest"
    start, end = _start(month), _start(_later(month, 1))

    async def change() -> None:
        async with database.session() as session:
            await _begin(session)
            there = await session.execute(text("SELECT to_regclass(:name) IS NOT NULL"), {"name": name})
            if there.scalar_one():
                return
            await session.execute(text(f"CREATE TABLE {name} (LIKE {table} INCLUDING ALL)"))
            # A writer that chose the rest before the month was there would be refused after it: none is on its way.
            await session.execute(text(f"LOCK TABLE ONLY {table}, {rest} IN SHARE ROW EXCLUSIVE MODE"))
            # Rows of this month that came before its part are in the rest; the part is refused as long as they are.
            await session.execute(
                text(
                    f"WITH moved AS (DELETE FROM {rest} WHERE at >= {start} AND at < {end} RETURNING *) "  # noqa: S608  # our own
                    f"INSERT INTO {name} SELECT * FROM moved"
                )
            )
            # Proves the bounds before the attaching, which would otherwise read all rows under its lock.
            await session.execute(
                text(f"ALTER TABLE {name} ADD CONSTRAINT {name}_bounds CHECK (at >= {start} AND at < {end})")
            )
            await session.execute(
                text(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({start}) TO ({end})")
            )
            await session.execute(text(f"ALTER TABLE {name} DROP CONSTRAINT {name}_bounds"))

    return change


def _dropper(database: Database, table: str, name: str) -> Callable[[], Awaitable[None]]:
    async def change() -> None:
        async with database.session() as session:
            await _begin(session)
            # The whole first: a reader of the whole locks it before its parts, and so must we.
            await session.execute(text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
            await session.execute(text(f"DROP TABLE IF EXISTS {name}"))

    return change


async def _delete(database: Database, table: str, row: str, cutoff: float, *, dry_run: bool) -> int:
    """Deletes rows from before the cutoff in batches, resting between them; gives how many."""
    old = {"cutoff": cutoff}
    if dry_run:
        async with database.session() as session:
            found = await session.execute(text(f"SELECT count(*) FROM {table} WHERE at < :cutoff"), old)  # noqa: S608  # our own
            return int(found.scalar_one())
    some = f"SELECT {row} FROM {table} WHERE at < :cutoff LIMIT {ROWS_AT_ONCE}"  # noqa: S608  # our own names
    total = 0
    while True:
        async with database.session() as session:
            # One statement, so that SQLite takes its write lock at once and keeps it no longer than a batch.
            gone = await session.execute(text(f"DELETE FROM {table} WHERE {row} IN ({some})"), old)  # noqa: S608  # our own
            count = int(getattr(gone, "rowcount", 0))
        total += count
        if count < ROWS_AT_ONCE:
            return total
        await asyncio.sleep(REST_SECONDS)


async def keep_up_daily(database: Database, wall: Callable[[], float], months: int | None) -> None:
    """Keeps the tables in shape now and once a day, for ever. A database that is away is tried again sooner."""
    while True:
        pause = DAY_SECONDS
        try:
            done = await keep_up(database, wall(), months)
        except (SQLAlchemyError, OSError) as fault:
            log.warning("upkeep_failed", extra={"fields": {"error": type(fault).__name__}})
            pause = AGAIN_SECONDS
        else:
            changed = done.made or done.dropped or any(done.deleted_rows.values())
            if changed or done.postponed:
                log.info("upkeep_done", extra={"fields": msgspec.to_builtins(done)})
            if done.postponed:
                pause = AGAIN_SECONDS
        await asyncio.sleep(pause)
