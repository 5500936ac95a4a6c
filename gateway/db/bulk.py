"""Many rows in one statement whose text does not depend on how many they are."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Boolean, Float, Integer, Table, bindparam, select, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncSession

Rows = Sequence[dict[str, Any]]


async def insert_new(session: AsyncSession, table: Table, rows: Rows) -> set[str]:
    """Adds the rows whose `id` is not there yet; gives the ids that were added.

    Every row has every column, and an `id`. On SQLite the session must hold the write lock already, that is, have
    written something: the look for what is there and the adding are two statements.
    """
    if not rows:
        return set()
    if _is_postgres(session):
        found = await session.execute(text(_insert_text(table)), _columns(table, rows))
        return {str(row[0]) for row in found}
    ids = [row["id"] for row in rows]
    query = select(table.c.id).where(table.c.id.in_(bindparam("ids", expanding=True)))
    there: set[str] = set()
    for start in range(0, len(ids), 500):
        there.update((await session.execute(query, {"ids": ids[start : start + 500]})).scalars())
    fresh = {row["id"]: row for row in rows if row["id"] not in there}
    if fresh:
        await session.execute(sqlite.insert(table), list(fresh.values()))
    return set(fresh)


async def add_up(session: AsyncSession, table: Table, rows: Rows, keys: Sequence[str], sums: Sequence[str]) -> None:
    """Adds rows, or their sums to the rows that have their keys. Sorted, so that two writers never wait for each other.

    rows: at most one for each set of keys.
    """
    if not rows:
        return
    ordered = sorted(rows, key=lambda row: tuple(row[key] for key in keys))
    if _is_postgres(session):
        await session.execute(text(_add_up_text(table, tuple(keys), tuple(sums))), _columns(table, ordered))
        return
    insert = sqlite.insert(table)
    moved = insert.on_conflict_do_update(
        index_elements=list(keys), set_={name: table.c[name] + insert.excluded[name] for name in sums}
    )
    await session.execute(moved, ordered)


def _is_postgres(session: AsyncSession) -> bool:
    return session.get_bind().dialect.name == "postgresql"


def _columns(table: Table, rows: Rows) -> dict[str, list[Any]]:
    return {f"p{place}": [row[column.name] for row in rows] for place, column in enumerate(table.columns)}


def _from_arrays(table: Table) -> str:
    arrays = ", ".join(f"CAST(:p{place} AS {_type(column)}[])" for place, column in enumerate(table.columns))
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    return f'INSERT INTO "{table.name}" ({names}) SELECT * FROM unnest({arrays}) AS given({names})'  # noqa: S608  # our own names


@cache
def _insert_text(table: Table) -> str:
    return f"{_from_arrays(table)} ON CONFLICT DO NOTHING RETURNING id"


@cache
def _add_up_text(table: Table, keys: tuple[str, ...], sums: tuple[str, ...]) -> str:
    order = ", ".join(f"given.{key}" for key in keys)
    moved = ", ".join(f'{name} = "{table.name}".{name} + excluded.{name}' for name in sums)
    return f"{_from_arrays(table)} ORDER BY {order} ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {moved}"


def _type(column: Any) -> str:
    for kind, name in ((BigInteger, "bigint"), (Integer, "integer"), (Boolean, "boolean"), (Float, "double precision")):
        if isinstance(column.type, kind):
            return name
    return "text"
