"""Vector stores in the database: who has which, and what they are called."""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from sqlalchemy import Table, delete, func, insert, or_, select, update

from gateway.core.ids import VECTOR_STORE, new_id
from gateway.core.page import Page, PageAsked
from gateway.db.engine import Database
from gateway.db.paging import page_of
from gateway.knowledge.vector_stores.tables import BatchFileRow, FileBatchRow, StoreFileRow, VectorStoreRow
from gateway.knowledge.vector_stores.values import DAY_SECONDS, Counts, VectorStore

_STORES: Table = VectorStoreRow.__table__  # type: ignore[attr-defined]  # SQLModel adds it at run time
_FILES: Table = StoreFileRow.__table__  # type: ignore[attr-defined]  # the same
_BATCHES: Table = FileBatchRow.__table__  # type: ignore[attr-defined]  # the same
_MEMBERS: Table = BatchFileRow.__table__  # type: ignore[attr-defined]  # the same


class VectorStores:
    """Reads and changes vector stores of all teams; who may is for the caller of these to know."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self, team: str, name: str, description: str, metadata: dict[str, str], expires_days: int | None
    ) -> VectorStore:
        """An empty one, under a fresh id."""
        identity = new_id(VECTOR_STORE)
        at = int(identity[3:15], 16) / 1000
        made = VectorStore(identity, team, name, description, tuple(metadata.items()), expires_days, at, at)
        async with self._database.session() as session:
            await session.execute(insert(_STORES), _row_of(made))
        return made

    async def declare(self, collections: dict[str, str], now: float) -> None:
        """Makes the collections of knowledge.yaml, by name with their titles, known as vector stores too."""
        rows = [
            _row_of(VectorStore(name, "", title or name, "", (), None, now, now)) for name, title in collections.items()
        ]
        if not rows:
            return
        async with self._database.session() as session:
            first = self._database.insert(_STORES)
            named = first.on_conflict_do_update(index_elements=["id"], set_={"name": first.excluded.name})
            await session.execute(named, rows)

    async def find(self, identity: str, *, counted: bool = True) -> VectorStore | None:
        """One, or None. counted: with its counts, which cost a look at each of its files."""
        async with self._database.session() as session:
            row = (await session.execute(select(*_STORES.columns).where(_STORES.c.id == identity))).first()
            if row is None or not counted:
                return None if row is None else _store_of(row, Counts(), 0)
            return (await self._counted(session, [row]))[0]

    async def page(self, team: str, named: Collection[str], asked: PageAsked) -> Page[VectorStore]:
        """A page of the team's own and of those collections of knowledge.yaml that are named."""
        mine = or_(_STORES.c.team == team, (_STORES.c.team == "") & _STORES.c.id.in_(list(named)))
        async with self._database.session() as session:
            rows, has_more = await page_of(session, select(*_STORES.columns).where(mine), _STORES, asked)
            return Page(tuple(await self._counted(session, rows)), has_more)

    async def change(self, identity: str, **values: object) -> None:
        """Sets name, metadata (JSON) or expires_days."""
        async with self._database.session() as session:
            await session.execute(
                update(_STORES).where(_STORES.c.id == identity).values({_STORES.c[key]: values[key] for key in values})
            )

    async def used(self, identity: str, now: float) -> None:
        """It was used now: it expires later."""
        async with self._database.session() as session:
            await session.execute(update(_STORES).where(_STORES.c.id == identity).values(last_active_at=now))

    async def remove(self, identity: str) -> None:
        """Forgets one, with its files and batches."""
        batches = select(_BATCHES.c.id).where(_BATCHES.c.vector_store_id == identity)
        async with self._database.session() as session:
            await session.execute(delete(_MEMBERS).where(_MEMBERS.c.batch_id.in_(batches)))
            await session.execute(delete(_BATCHES).where(_BATCHES.c.vector_store_id == identity))
            await session.execute(delete(_FILES).where(_FILES.c.vector_store_id == identity))
            await session.execute(delete(_STORES).where(_STORES.c.id == identity))

    async def all(self) -> list[VectorStore]:
        """Those that callers made and that have not been emptied, without their counts."""
        query = select(*_STORES.columns).where(_STORES.c.team != "", _STORES.c.swept_at.is_(None))
        async with self._database.session() as session:
            return [_store_of(row, Counts(), 0) for row in await session.execute(query.order_by(_STORES.c.id))]

    async def stale(self, now: float, limit: int = 20) -> list[str]:
        """Expired vector stores that still hold their documents."""
        ends = _STORES.c.last_active_at + _STORES.c.expires_days * DAY_SECONDS
        query = select(_STORES.c.id).where(
            _STORES.c.expires_days.is_not(None), ends <= now, _STORES.c.swept_at.is_(None)
        )
        async with self._database.session() as session:
            return [row[0] for row in await session.execute(query.limit(limit))]

    async def swept(self, identity: str, now: float) -> None:
        """An expired vector store holds nothing any more."""
        async with self._database.session() as session:
            await session.execute(update(_STORES).where(_STORES.c.id == identity).values(swept_at=now))

    async def _counted(self, session: Any, rows: Sequence[Any]) -> list[VectorStore]:
        ids = [row[0] for row in rows]
        of, status = _FILES.c.vector_store_id, _FILES.c.status
        query = select(of, status, func.count(), func.sum(_FILES.c.usage_bytes))
        query = query.where(of.in_(ids), _FILES.c.deleted_at.is_(None)).group_by(of, status)
        counts: dict[str, dict[str, int]] = {one: {} for one in ids}
        size = dict.fromkeys(ids, 0)
        for store, kind, count, used in await session.execute(query):
            counts[store][kind] = int(count)
            size[store] += int(used or 0)
        return [_store_of(row, Counts(**counts[row[0]]), size[row[0]]) for row in rows]


def _row_of(store: VectorStore) -> dict[str, object]:
    return {
        "id": store.id,
        "team": store.team,
        "name": store.name,
        "description": store.description,
        "metadata": msgspec.json.encode(dict(store.metadata)).decode(),
        "expires_days": store.expires_days,
        "last_active_at": store.last_active_at,
        "created_at": store.created_at,
        "swept_at": None,
    }


def _store_of(row: Any, counts: Counts, used: int) -> VectorStore:
    names = dict(row._mapping)  # noqa: SLF001 - the public name of a row's columns
    metadata = msgspec.json.decode(names.pop("metadata"), type=dict[str, str])
    names.pop("swept_at")
    return VectorStore(**names, metadata=tuple(metadata.items()), counts=counts, usage_bytes=used)
