"""Exports equal the books: each row once, whoever is killed, however often a batch comes again."""

import asyncio
import gzip
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import duckdb
import pytest
from sqlalchemy import text

from gateway.core.errors import BadConfiguration, UpstreamFailed
from gateway.core.event import Closing
from gateway.core.usage import Usage
from gateway.db.engine import Database
from gateway.ledger.export.clickhouse import ClickHouse, read_address
from gateway.ledger.export.exporter import Exporter
from gateway.ledger.export.parquet import ParquetFolder
from gateway.ledger.export.store import ExportStore, usage_columns
from gateway.ledger.export.target import Target, target_of
from gateway.ledger.records import Final
from gateway.ledger.rows import event_row
from gateway.ledger.shipper import Shipper
from gateway.ledger.store import LedgerStore
from gateway.upstream.post import JsonPoster
from tests.fakes.books import Books
from tests.fakes.calls import DIRECT, NOON, SUPPORT, chat, closed, decided, facts
from tests.fakes.scripted_server import Visit, scripted

COLUMNS = [column.name for column in usage_columns()]


class Process:
    """A process's books, its shipper and its exporter, over the folder that all share."""

    def __init__(
        self, database: Database, folder: Path, target: Target, segment_bytes: int = 4_096, **more: Any
    ) -> None:
        self.books = Books(folder / "journal", segment_bytes=segment_bytes)
        self.exporter = Exporter(self.books.journal, target, ExportStore(database), **more)
        self.shipper = Shipper(self.books.ledger, LedgerStore(database), self.books.observed.append)

    def book(self, *numbers: int, **fields: Any) -> None:
        for number in numbers:
            at = NOON + number * 3_600
            self.books.journal.finish(Final(closed(number, id=f"call_{number}.1", at=at, **fields)))

    def begin(self) -> str:
        """A call that is sent and never ends; its attempt's id."""
        entry = self.books.open(chat(), SUPPORT, decided(), facts())
        entry.start(DIRECT)
        return entry.attempt_id

    def die(self) -> None:
        """As a kill would: nothing is finished, and every lock is let go."""
        self.books.journal.close()
        self.exporter.close()


class Flaky:
    """A target that takes a batch and then cannot say so, or takes nothing, as often as it is told."""

    every_seconds = 0.01

    def __init__(self, inner: Target) -> None:
        self._inner = inner
        self.loses_answers = 0
        self.refuses = 0
        self.taken: list[tuple[str, int]] = []

    async def write(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        if self.refuses:
            self.refuses -= 1
            raise UpstreamFailed("away")
        await self._inner.write(name, rows)
        self.taken.append((name, len(rows)))
        if self.loses_answers:
            self.loses_answers -= 1
            raise OSError("the answer was lost")


async def booked(database: Database) -> list[tuple[Any, ...]]:
    names = ", ".join(f'"{name}"' for name in COLUMNS)
    async with database.session() as session:
        rows = [tuple(row) for row in await session.execute(text(f"SELECT {names} FROM usage_events"))]
    flags = {COLUMNS.index(name) for name in ("last", "stream")}
    plain = [tuple(bool(cell) if place in flags else cell for place, cell in enumerate(row)) for row in rows]
    return sorted(plain)


def exported(folder: Path) -> list[tuple[Any, ...]]:
    names = ", ".join(f'"{name}"' for name in COLUMNS)
    files = f"{folder}/*/*.parquet"
    return sorted(asked(f"SELECT {names} FROM read_parquet('{files}', hive_partitioning = true)"))


def asked(query: str) -> list[tuple[Any, ...]]:
    found = duckdb.sql(query)
    assert found is not None
    return found.fetchall()


async def test_duckdb_reads_what_the_database_holds(database: Database, tmp_path: Path) -> None:
    """Every column, NULLs included, over several days and segments; the day of a folder is the row's UTC day."""
    process = Process(database, tmp_path, ParquetFolder(str(tmp_path / "out")))
    process.book(*range(60))
    process.book(60, usage=None, cost_nano_usd=None, cost_status="unpriced", line="tone", asked_model="süß \U0001f600")
    process.book(
        61, usage=Usage(2**40, 7, raw='{"a":1}', service_tier="flex"), metadata=(("ticket", "1"),), stream=True
    )
    await process.shipper.ship_all()
    await process.exporter.export_all()
    assert exported(tmp_path / "out") == await booked(database)
    days = asked(f"""SELECT DISTINCT day, "at" FROM read_parquet('{tmp_path}/out/*/*.parquet')""")
    assert len({day for day, _ in days}) > 2
    assert all(str(day) == datetime.fromtimestamp(at, UTC).date().isoformat() for day, at in days)
    process.die()


async def test_a_batch_whose_answer_is_lost_is_the_same_batch_again(database: Database, tmp_path: Path) -> None:
    """Though more was written meanwhile: a target that knows names must not take the first part for the whole."""
    target = Flaky(ParquetFolder(str(tmp_path / "out")))
    process = Process(database, tmp_path, target, segment_bytes=1 << 20)
    for start in range(0, 60, 20):
        process.book(*range(start, start + 10))
        target.loses_answers = 1
        with pytest.raises(OSError, match="lost"):
            await process.exporter.export_all()
        process.book(*range(start + 10, start + 20))
        if start == 20:
            # Killed between taking and noting: another process has only what the database says.
            process.die()
            await process.shipper.ship_all()
            process = Process(database, tmp_path, target, segment_bytes=1 << 20)
            await process.shipper.recover()
        await process.exporter.export_all()
    await process.shipper.ship_all()
    assert exported(tmp_path / "out") == await booked(database)
    assert len(exported(tmp_path / "out")) == 60
    sizes: dict[str, set[int]] = {}
    for name, size in target.taken:
        sizes.setdefault(name, set()).add(size)
    assert all(len(found) == 1 for found in sizes.values())
    process.die()


async def test_orphans_of_a_dead_process_are_exported_as_they_were_booked(database: Database, tmp_path: Path) -> None:
    """Not before recovery has booked them; an attempt that ended, or sent nothing, is no orphan."""
    out = tmp_path / "out"
    dead = Process(database, tmp_path, ParquetFolder(str(out)))
    orphan = dead.begin()
    for _ in range(4):
        dead.book(*range(10))
    entry = dead.books.open(chat(), SUPPORT, decided(), facts())
    entry.start(DIRECT)
    entry.void()
    entry.close(Closing("refused", 400))
    await dead.exporter.export_all()
    dead.die()
    heir = Process(database, tmp_path, ParquetFolder(str(out)))
    await heir.exporter.export_all()
    assert orphan not in {row[0] for row in exported(out)}
    assert await heir.shipper.recover() == 1
    await heir.exporter.export_all()
    rows = exported(out)
    assert {row[0]: row[COLUMNS.index("outcome")] for row in rows}[orphan] == "interrupted"
    assert sorted(set(rows)) == await booked(database)
    assert list((tmp_path / "journal" / "export").glob(f"{dead.books.journal.process}*")) == []
    heir.die()


async def test_a_target_that_is_away_holds_up_nobody_and_gets_everything_later(
    database: Database, tmp_path: Path
) -> None:
    target = Flaky(ParquetFolder(str(tmp_path / "out")))
    target.refuses = 1_000_000
    process = Process(database, tmp_path, target)
    process.book(*range(100))
    await process.shipper.ship_all()
    assert len(await booked(database)) == 100
    assert not process.books.journal.path(0).exists(), "the shipper has let go of what is in the database"
    assert not process.exporter.passed(0)
    with pytest.raises(UpstreamFailed):
        await process.exporter.export_all()
    target.refuses = 0
    await process.exporter.export_all()
    assert process.exporter.passed(0)
    assert exported(tmp_path / "out") == await booked(database)
    async with database.session() as session:
        left = (await session.execute(text("SELECT segment FROM journal_offsets WHERE segment LIKE 'export%'"))).all()
    assert {row[0].partition(":")[2] for row in left} == {process.books.journal.path(process.books.journal.number).name}
    process.die()


async def test_it_goes_on_by_itself_once_the_target_is_back(database: Database, tmp_path: Path) -> None:
    target = Flaky(ParquetFolder(str(tmp_path / "out")))
    target.refuses = 3
    process = Process(database, tmp_path, target)
    process.book(*range(5))
    running = asyncio.create_task(process.exporter.run())
    async with asyncio.timeout(10):
        while not target.taken:
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert len(exported(tmp_path / "out")) == 5
    process.die()


async def test_what_waits_for_a_target_has_a_bound(database: Database, tmp_path: Path) -> None:
    """The disk is the journal's first: past the bound the oldest segments are given up, and the newest stay."""
    target = Flaky(ParquetFolder(str(tmp_path / "out")))
    target.refuses = 3
    process = Process(database, tmp_path, target, most_waiting_bytes=20_000)
    process.book(*range(200))
    running = asyncio.create_task(process.exporter.run())
    async with asyncio.timeout(10):
        while target.refuses or not target.taken:
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await process.exporter.export_all()
    ids = {row[0] for row in exported(tmp_path / "out")}
    assert "call_0.1" not in ids
    assert "call_199.1" in ids
    process.die()


async def test_the_files_of_a_living_process_are_left_to_it(database: Database, tmp_path: Path) -> None:
    first = Process(database, tmp_path, ParquetFolder(str(tmp_path / "one")))
    second = Process(database, tmp_path, ParquetFolder(str(tmp_path / "two")))
    first.book(*range(50))
    await second.exporter.export_all()
    assert list((tmp_path / "two").glob("*/*.parquet")) == []
    await first.exporter.export_all()
    assert len(exported(tmp_path / "one")) == 50
    first.die()
    second.die()


async def test_no_half_file_is_ever_seen(tmp_path: Path) -> None:
    """A reader globs `*.parquet` at any moment; a folder that cannot be written leaves nothing behind."""
    target = ParquetFolder(str(tmp_path / "out"))
    (tmp_path / "out").write_text("a file where a folder should be")
    with pytest.raises(OSError, match="out"):
        await target.write("a-000000-0", [event_row(closed(1))])
    (tmp_path / "out").unlink()
    await target.write("a-000000-0", [event_row(closed(1))])
    assert [path.name for path in (tmp_path / "out").rglob("*.*")] == ["a-000000-0.parquet"]


# ClickHouse. Its engine has been asked by hand (chdb) whether it takes the table, the lines and the token; here a
# server on a socket looks at what came.


class Table:
    """What ClickHouse would keep: rows of inserts whose token it has not seen."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.tokens: list[str] = []
        self.statements: list[str] = []
        self.heads: list[str] = []
        self.fails = 0
        self.loses_answers = 0

    async def __call__(self, visit: Visit) -> None:
        head = visit.head.decode()
        self.heads.append(head.lower())
        if self.fails:
            self.fails -= 1
            await visit.write(b"HTTP/1.1 500 X\r\nContent-Length: 4\r\n\r\nCode")
            return
        query = parse_qs(head.split(" ")[1].partition("?")[2])
        if "query" not in query:
            self.statements.append(visit.body.decode())
        else:
            self._insert(query, visit.body)
            if self.loses_answers:
                self.loses_answers -= 1
                visit.reset()
                return
        await visit.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    def _insert(self, query: dict[str, list[str]], body: bytes) -> None:
        assert query["query"] == ["INSERT INTO books.usage FORMAT JSONEachRow"]
        (token,) = query["insert_deduplication_token"]
        if token not in self.tokens:
            self.rows += [json.loads(line) for line in gzip.decompress(body).splitlines()]
        self.tokens.append(token)


async def test_clickhouse_gets_each_row_once_though_answers_are_lost(database: Database, tmp_path: Path) -> None:
    table, poster = Table(), JsonPoster()
    async with scripted(table) as server:
        address = f"clickhouse:http://writer@127.0.0.1:{server.origin.port}/books.usage"
        process = Process(database, tmp_path, target_of(address, "s3cret", poster.post))
        process.book(*range(30))
        table.fails, table.loses_answers = 4, 1
        for number in range(90, 93):
            with pytest.raises(UpstreamFailed):
                await process.exporter.export_all()
            process.book(number)
        await process.exporter.export_all()
        await process.shipper.ship_all()
    await poster.close()
    assert len(table.tokens) > len(set(table.tokens)), "an insert came twice"
    ids = sorted(row["id"] for row in table.rows)
    assert ids == [row[0] for row in await booked(database)]
    assert all(set(row) == set(COLUMNS) for row in table.rows)
    assert all("x-clickhouse-user: writer\r\nx-clickhouse-key: s3cret" in head for head in table.heads)
    assert re.match(r"CREATE TABLE IF NOT EXISTS books\.usage \(`id` String, ", table.statements[0])
    process.die()


@pytest.mark.parametrize(
    "written",
    [
        "parquet:relative/folder", "parquet:", "csv:/x", "clickhouse:http://h:8123", "clickhouse:h/t", "/x", "",
        "clickhouse:http://h:8123/a.b.c", "clickhouse:http://h:8123/t; DROP TABLE x", "clickhouse:http://h:x/t",
    ],
)  # fmt: skip
def test_a_target_that_is_none_is_told_with_what_would_be_right(written: str) -> None:
    with pytest.raises(BadConfiguration, match="it must be parquet:/folder"):
        target_of(written, None, JsonPoster().post)


def test_a_password_in_the_address_is_refused_and_not_shown() -> None:
    with pytest.raises(BadConfiguration) as refused:
        target_of("clickhouse:http://u:hunter2@h:8123/t", None, JsonPoster().post)
    assert "hunter2" not in str(refused.value)
    assert read_address("http://u:hunter2@h:8123/t", "") is None


def test_a_table_without_a_database_and_a_host_in_brackets_are_understood() -> None:
    address = read_address("https://me@[::1]:8443/usage", "p")
    assert address is not None
    assert (address.url, address.table, address.user, address.password) == ("https://[::1]:8443", "usage", "me", "p")
    assert isinstance(target_of("clickhouse:http://h/t", None, JsonPoster().post), ClickHouse)
