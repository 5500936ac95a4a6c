"""How far segments are exported, and rows as the database has them."""

from collections.abc import Iterable
from typing import Any, Literal

from sqlalchemy import BigInteger, Boolean, Float, Integer, Table, select

from gateway.core.values import Value
from gateway.db.engine import Database
from gateway.ledger.tables import JournalOffsetRow, UsageEventRow

_EVENTS: Table = UsageEventRow.__table__  # type: ignore[attr-defined]  # SQLModel adds it at run time
_OFFSETS: Table = JournalOffsetRow.__table__  # type: ignore[attr-defined]  # the same

Kind = Literal["text", "integer", "real", "flag"]
KINDS: tuple[tuple[type, Kind], ...] = (
    (BigInteger, "integer"),
    (Integer, "integer"),
    (Boolean, "flag"),
    (Float, "real"),
)
DONE = "export:"
PLANNED = "export-to:"


class Column(Value, frozen=True):
    """A column of a usage row. integer: 64 bits, with a sign."""

    name: str
    kind: Kind
    nullable: bool


def usage_columns() -> tuple[Column, ...]:
    """The columns of `usage_events`, in their order."""
    return tuple(Column(column.name, _kind(column.type), bool(column.nullable)) for column in _EVENTS.columns)


def _kind(written: object) -> Kind:
    return next((kind for of, kind in KINDS if isinstance(written, of)), "text")


class ExportStore:
    """The exporter's own offsets, apart from the shipper's; segments by the name of their file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def offsets(self, segment: str) -> tuple[int, int]:
        """How far a segment is exported, and how far the batch went that was being exported when this was asked."""
        names = (DONE + segment, PLANNED + segment)
        query = select(_OFFSETS.c.segment, _OFFSETS.c.offset).where(_OFFSETS.c.segment.in_(names))
        async with self._database.session() as session:
            found = {str(name): int(offset) for name, offset in await session.execute(query)}
        return found.get(names[0], 0), found.get(names[1], 0)

    async def plan(self, segment: str, end: int) -> None:
        """Notes where the batch ends that is about to be exported: a second try must be the same batch."""
        await self._set(PLANNED + segment, end)

    async def passed(self, segment: str, offset: int) -> None:
        """Notes that everything up to here is exported."""
        await self._set(DONE + segment, offset)

    async def _set(self, name: str, offset: int) -> None:
        moved = self._database.insert(_OFFSETS).values(segment=name, offset=offset)
        async with self._database.session() as session:
            await session.execute(moved.on_conflict_do_update(index_elements=["segment"], set_={"offset": offset}))

    async def forget(self, segment: str) -> None:
        """Drops the offsets of a segment whose file is gone."""
        async with self._database.session() as session:
            await session.execute(_OFFSETS.delete().where(_OFFSETS.c.segment.in_((DONE + segment, PLANNED + segment))))

    async def rows(self, ids: Iterable[str]) -> list[dict[str, Any]]:
        """Usage rows by their ids, as they were booked."""
        wanted = sorted(ids)
        found: list[dict[str, Any]] = []
        async with self._database.session() as session:
            for start in range(0, len(wanted), 500):
                query = select(*_EVENTS.columns).where(_EVENTS.c.id.in_(wanted[start : start + 500]))
                found += [dict(row) for row in (await session.execute(query.order_by(_EVENTS.c.id))).mappings()]
        return found
