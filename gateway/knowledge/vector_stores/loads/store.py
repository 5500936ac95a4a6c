"""The files in vector stores, in the database: what is in, and how far its loading is."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Select, Table, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.core.ids import new_id
from gateway.core.page import Page, PageAsked
from gateway.db.engine import Database
from gateway.db.paging import page_of
from gateway.knowledge.chunks import Chunking
from gateway.knowledge.vector_stores.tables import BatchFileRow, FileBatchRow, StoreFileRow
from gateway.knowledge.vector_stores.values import Counts, FileBatch, FileToPut, Status, StoreFile

_FILES: Table = StoreFileRow.__table__  # type: ignore[attr-defined]  # SQLModel adds it at run time
_BATCHES: Table = FileBatchRow.__table__  # type: ignore[attr-defined]  # the same
_MEMBERS: Table = BatchFileRow.__table__  # type: ignore[attr-defined]  # the same
# A deleted file's row stays so long: whoever deletes while paging has the place of the last item.
CURSOR_SECONDS = 3600.0


class StoreFiles:
    """Reads and changes what is in vector stores, and hands out what is to be loaded."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, identity: str, files: Sequence[FileToPut], now: float, *, batch: bool = False) -> str | None:
        """Puts files in, to be loaded; one that is in already is loaded anew. Gives the batch's id, if any."""
        batch_id = new_id("vsfb") if batch else None
        made = new_id("put")
        rows = [
            {
                "vector_store_id": identity,
                "file_id": one.file_id,
                "created_at": now + number * 1e-6,
                "status": "in_progress",
                "error_code": None,
                "error_message": None,
                "usage_bytes": 0,
                "attributes": msgspec.json.encode(dict(one.attributes)).decode(),
                "chunking": msgspec.json.encode(one.chunking).decode(),
                "batch_id": batch_id,
                "made": made,
                "tries": 0,
                "held_until": None,
                "deleted_at": None,
            }
            for number, one in enumerate(files)
        ]
        async with self._database.session() as session:
            if batch_id is not None:
                await session.execute(
                    insert(_BATCHES), {"id": batch_id, "vector_store_id": identity, "created_at": now}
                )
                members = [{"batch_id": batch_id, "file_id": one.file_id, "status": "in_progress"} for one in files]
                if members:
                    await session.execute(insert(_MEMBERS), members)
            if rows:
                first = self._database.insert(_FILES)
                anew = {name: first.excluded[name] for name in rows[0]}
                put = first.on_conflict_do_update(index_elements=["vector_store_id", "file_id"], set_=anew)
                await session.execute(put, rows)
        return batch_id

    async def file(self, identity: str, file_id: str) -> StoreFile | None:
        """A file in a vector store, or None."""
        query = _files().where(_FILES.c.vector_store_id == identity, _FILES.c.file_id == file_id)
        async with self._database.session() as session:
            row = (await session.execute(query)).first()
        return None if row is None else _file_of(row)

    async def files(
        self, identity: str, asked: PageAsked, status: Status | None = None, batch_id: str | None = None
    ) -> Page[StoreFile]:
        """A page of the files of a vector store or of one of its batches."""
        mine = _FILES.c.vector_store_id == identity
        query = _files().where(mine)
        if status is not None:
            query = query.where(_FILES.c.status == status)
        if batch_id is not None:
            query = query.where(_FILES.c.file_id.in_(select(_MEMBERS.c.file_id).where(_MEMBERS.c.batch_id == batch_id)))
        async with self._database.session() as session:
            rows, has_more = await page_of(session, query, _FILES, asked, name="file_id", within=mine)
        return Page(tuple(_file_of(row) for row in rows), has_more)

    async def holding(self, file_id: str) -> list[str]:
        """The vector stores that a file is in."""
        query = select(_FILES.c.vector_store_id).where(_FILES.c.file_id == file_id, _FILES.c.deleted_at.is_(None))
        async with self._database.session() as session:
            return [row[0] for row in await session.execute(query)]

    async def take_out(self, identity: str, file_id: str, now: float) -> None:
        """Takes a file out of a vector store. Its row stays for a while, as the place of a cursor."""
        where = (_FILES.c.vector_store_id == identity, _FILES.c.file_id == file_id)
        async with self._database.session() as session:
            await session.execute(update(_FILES).where(*where).values(deleted_at=now, status="cancelled"))
            old = (_FILES.c.vector_store_id == identity, _FILES.c.deleted_at < now - CURSOR_SECONDS)
            await session.execute(delete(_FILES).where(*old))

    async def set_attributes(self, file: StoreFile, attributes: str) -> None:
        """Sets a file's attributes, as JSON. One that is being loaded is loaded anew, under these."""
        key = (_FILES.c.vector_store_id == file.vector_store_id, _FILES.c.file_id == file.file_id)
        async with self._database.session() as session:
            await session.execute(update(_FILES).where(*key).values(attributes=attributes))
            anew = update(_FILES).where(*key, _FILES.c.status == "in_progress")
            await session.execute(anew.values(made=new_id("put"), held_until=None))

    async def batch(self, identity: str, batch_id: str) -> FileBatch | None:
        """A batch of a vector store, or None."""
        mine = (_BATCHES.c.id == batch_id, _BATCHES.c.vector_store_id == identity)
        counted = (
            select(_MEMBERS.c.status, func.count()).where(_MEMBERS.c.batch_id == batch_id).group_by(_MEMBERS.c.status)
        )
        async with self._database.session() as session:
            row = (await session.execute(select(_BATCHES.c.created_at, _BATCHES.c.cancelled_at).where(*mine))).first()
            if row is None:
                return None
            counts = Counts(
                **{
                    str(status): int(count)
                    for status, count in await session.execute(counted.group_by(_MEMBERS.c.status))
                }
            )
        return FileBatch(batch_id, identity, float(row[0]), row[1] is not None, counts)

    async def cancel(self, batch_id: str, now: float) -> None:
        """Stops a batch: what is not loaded yet is not loaded."""
        waits = (_FILES.c.batch_id == batch_id, _FILES.c.status == "in_progress")
        members = (_MEMBERS.c.batch_id == batch_id, _MEMBERS.c.status == "in_progress")
        async with self._database.session() as session:
            await session.execute(update(_FILES).where(*waits).values(status="cancelled"))
            await session.execute(update(_MEMBERS).where(*members).values(status="cancelled"))
            await session.execute(update(_BATCHES).where(_BATCHES.c.id == batch_id).values(cancelled_at=now))

    async def claim(self, now: float, hold_seconds: float, limit: int) -> list[StoreFile]:
        """Files to load, the oldest first, each to one claimer, who has them alone for `hold_seconds`."""
        is_free = or_(_FILES.c.held_until.is_(None), _FILES.c.held_until <= now)
        key = (_FILES.c.vector_store_id, _FILES.c.file_id)
        due = select(*key).where(_FILES.c.status == "in_progress", _FILES.c.deleted_at.is_(None), is_free)
        due = due.order_by(_FILES.c.created_at).limit(limit).with_for_update(skip_locked=True)
        async with self._database.session() as session:
            found = [tuple(row) for row in await session.execute(due)]
            claimed: list[Any] = []
            for store, file in found:
                mine = (key[0] == store, key[1] == file, is_free)
                held = update(_FILES).where(*mine).values(held_until=now + hold_seconds, tries=_FILES.c.tries + 1)
                claimed += (await session.execute(held.returning(*_FILES.columns))).all()
        return [_file_of(row) for row in claimed]

    async def loaded(self, files: Sequence[tuple[StoreFile, int]]) -> list[StoreFile]:
        """They are in, each with the bytes that it takes. Gives those that were taken out, cancelled or put in anew."""
        lost = []
        async with self._database.session() as session:
            for file, used in files:
                if not await self._end(session, file, "completed", usage_bytes=used):
                    lost.append(file)
        return lost

    async def lost(self, files: Sequence[StoreFile]) -> list[StoreFile]:
        """Those of the files that were taken out, cancelled or put in anew since they were claimed."""
        key = (_FILES.c.vector_store_id, _FILES.c.file_id, _FILES.c.made)
        ids = [file.file_id for file in files]
        live = select(*key).where(
            _FILES.c.file_id.in_(ids), _FILES.c.status == "in_progress", _FILES.c.deleted_at.is_(None)
        )
        async with self._database.session() as session:
            found = {tuple(row) for row in await session.execute(live)}
        return [file for file in files if (file.vector_store_id, file.file_id, file.made) not in found]

    async def hold(self, keys: Sequence[tuple[str, str, str]], until: float) -> None:
        """Keeps claimed files for longer. keys: vector store, file and put of each."""
        async with self._database.session() as session:
            for store, file, made in keys:
                mine = (_FILES.c.vector_store_id == store, _FILES.c.file_id == file, _FILES.c.made == made)
                await session.execute(update(_FILES).where(*mine).values(held_until=until))

    async def let_go(self, file: StoreFile) -> None:
        """Nobody loads it any more."""
        async with self._database.session() as session:
            await session.execute(update(_FILES).where(*_same(file)).values(held_until=None))

    async def is_held(self, identity: str, file_id: str, now: float) -> bool:
        """Whether somebody is loading a file of a vector store, be it taken out meanwhile."""
        mine = (_FILES.c.vector_store_id == identity, _FILES.c.file_id == file_id, _FILES.c.held_until > now)
        async with self._database.session() as session:
            return (await session.execute(select(_FILES.c.file_id).where(*mine))).first() is not None

    async def taken_out(self, since: float) -> list[tuple[str, str]]:
        """Vector stores and files that were taken out of them since then."""
        query = select(_FILES.c.vector_store_id, _FILES.c.file_id).where(_FILES.c.deleted_at >= since)
        async with self._database.session() as session:
            return [(row[0], row[1]) for row in await session.execute(query)]

    async def failed(self, file: StoreFile, code: str, message: str) -> bool:
        """It cannot be loaded; False when it was taken out, cancelled or put in anew meanwhile."""
        async with self._database.session() as session:
            return await self._end(session, file, "failed", error_code=code, error_message=message)

    async def again(self, identity: str, file_id: str) -> None:
        """A file is to be loaded again."""
        where = (_FILES.c.vector_store_id == identity, _FILES.c.file_id == file_id, _FILES.c.deleted_at.is_(None))
        async with self._database.session() as session:
            await session.execute(update(_FILES).where(*where).values(status="in_progress", held_until=None, tries=0))

    async def later(self, file: StoreFile, held_until: float) -> None:
        """It could not be loaded now, through no fault of its own."""
        async with self._database.session() as session:
            await session.execute(update(_FILES).where(*_same(file)).values(held_until=held_until))

    async def _end(self, session: AsyncSession, file: StoreFile, status: Status, **values: object) -> bool:
        ended = update(_FILES).where(*_same(file), _FILES.c.status == "in_progress", _FILES.c.deleted_at.is_(None))
        found = await session.execute(ended.values(status=status, held_until=None, **values))
        ok = bool(getattr(found, "rowcount", 0))
        if ok and file.batch_id is not None:
            member = (_MEMBERS.c.batch_id == file.batch_id, _MEMBERS.c.file_id == file.file_id)
            await session.execute(update(_MEMBERS).where(*member).values(status=status))
        return ok


def _files() -> Select[Any]:
    return select(*_FILES.columns).where(_FILES.c.deleted_at.is_(None))


def _same(file: StoreFile) -> tuple[Any, ...]:
    key = (_FILES.c.vector_store_id == file.vector_store_id, _FILES.c.file_id == file.file_id)
    return (*key, _FILES.c.made == file.made)


def _file_of(row: Any) -> StoreFile:
    attributes = msgspec.json.decode(row.attributes, type=dict[str, str | bool | float])
    return StoreFile(
        vector_store_id=row.vector_store_id,
        file_id=row.file_id,
        created_at=row.created_at,
        status=row.status,
        usage_bytes=row.usage_bytes,
        error=(row.error_code, row.error_message or "") if row.error_code else None,
        attributes=tuple(sorted(attributes.items())),
        chunking=msgspec.json.decode(row.chunking, type=Chunking | None),
        batch_id=row.batch_id,
        made=row.made,
        tries=row.tries,
    )
