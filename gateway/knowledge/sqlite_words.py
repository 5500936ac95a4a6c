"""The words of the SQLite store's chunks: one full-text table for each collection that holds any.

FTS5 weighs a word by the lengths and counts of its whole table, and counts it there. Were the table shared, scores
would tell a team of texts that it may not read, and a small collection's search would cost what the large ones hold.
The price is five entries in the file's schema for each collection.
"""

import sqlite3
from collections.abc import Iterable

RANGE_BITS = 40  # A trillion chunks each; ids of the first 8,000 collections stay exact even as float64.

_Row = tuple[int, str, str]


def words_table(number: int) -> str:
    """The name of a collection's full-text table."""
    return f"words_{number}"


def add_words(db: sqlite3.Connection, number: int, rows: Iterable[_Row]) -> None:
    """Adds chunks as (id, path, text); makes the table when these are the first."""
    table = words_table(number)
    _make(db, table)
    db.executemany(f"INSERT INTO {table} (rowid, path, text) VALUES (?, ?, ?)", rows)  # noqa: S608 - our own name


def remove_words(db: sqlite3.Connection, number: int, rows: Iterable[_Row]) -> None:
    """Removes chunks as (id, path, text), exactly as they were added: the table holds no texts of its own."""
    table = words_table(number)
    db.executemany(f"INSERT INTO {table} ({table}, rowid, path, text) VALUES ('delete', ?, ?, ?)", rows)  # noqa: S608


def drop_words(db: sqlite3.Connection, number: int) -> None:
    """Forgets a collection that holds no chunk any more."""
    db.execute(f"DROP TABLE IF EXISTS {words_table(number)}")


def split_words(db: sqlite3.Connection) -> None:
    """Gives each collection of an older file its own table, in place of the one they shared.

    Also of a file that an older version has opened since: it made that table anew, and wrote to it alone.
    """
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'chunks_fts'").fetchone() is None:
        return
    for trigger in ("chunk_added", "chunk_removed"):
        db.execute(f"DROP TRIGGER IF EXISTS {trigger}")
    for (number,) in db.execute("SELECT number FROM collections").fetchall():
        drop_words(db, number)
        low = number << RANGE_BITS
        within = (low, low + (1 << RANGE_BITS) - 1)
        if db.execute("SELECT 1 FROM chunks WHERE id BETWEEN ? AND ? LIMIT 1", within).fetchone():
            table = words_table(number)
            _make(db, table)
            db.execute(
                f"INSERT INTO {table} (rowid, path, text) "  # noqa: S608 - our own name
                "SELECT id, path, text FROM chunks WHERE id BETWEEN ? AND ?",
                within,
            )
    db.execute("DROP TABLE chunks_fts")


def _make(db: sqlite3.Connection, table: str) -> None:
    db.execute(
        f"CREATE VIRTUAL TABLE IF NOT EXISTS {table} USING fts5(path, text, content='', tokenize='porter unicode61')"
    )
