"""Uploaded files in the database, each team's own."""

import time
from collections.abc import AsyncIterator, Sequence

import msgspec
from sqlalchemy import ColumnElement, Table, delete, func, insert, or_, select

from gateway.core.errors import NotFound
from gateway.core.ids import new_id
from gateway.core.page import Page, PageAsked
from gateway.core.stored_file import StoredFile
from gateway.db.engine import Database
from gateway.db.paging import page_of
from gateway.files.tables import FileCopyRow, FilePartRow, FileRow

PART_BYTES = 1024 * 1024
# How ids of files begin that are kept here: a provider's look otherwise.
OUR_IDS = "file-sw"
# Ids in one query.
MOST_ASKED = 500

_FILES: Table = FileRow.__table__  # type: ignore[attr-defined]  # SQLModel adds it at run time
_PARTS: Table = FilePartRow.__table__  # type: ignore[attr-defined]  # the same
_COPIES: Table = FileCopyRow.__table__  # type: ignore[attr-defined]  # the same


class FileStore:
    """Keeps files. One that has expired is not there any more, though its bytes may be until the next sweep."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self, team: str, filename: str, purpose: str, content: bytes, expires_seconds: int | None = None
    ) -> StoredFile:
        """Stores a file, whole or not at all, under a fresh id."""
        file = fresh_file(team, filename, purpose, len(content), expires_seconds)
        await self.put(file, content)
        return file

    async def put(self, file: StoredFile, content: bytes, lies_at: tuple[str, str] | None = None) -> None:
        """Stores a file under the id it has, whole or not at all. lies_at: an upstream, and its id there.

        Where there is one of that id, that one stays.
        """
        values = {name: getattr(file, name) for name in file.__struct_fields__}
        begun = (
            self._database.insert(_FILES)
            .values(values)
            .on_conflict_do_nothing(index_elements=["id"])
            .returning(_FILES.c.id)
        )
        async with self._database.session() as session:
            # First, so that of two who store it at once one waits for the other.
            if (await session.execute(begun)).first() is None:
                return
            for number, start in enumerate(range(0, len(content), PART_BYTES)):
                part = {"file_id": file.id, "number": number, "data": content[start : start + PART_BYTES]}
                await session.execute(insert(_PARTS), part)
            if lies_at is not None:
                row = {"file_id": file.id, "upstream": lies_at[0], "upstream_id": lies_at[1], "team": file.team}
                await session.execute(insert(_COPIES), row)

    async def kept_of(self, upstream: str, upstream_id: str) -> StoredFile | None:
        """The file here that lies at an upstream under that id, or None."""
        copied = (_COPIES.c.upstream == upstream) & (_COPIES.c.upstream_id == upstream_id)
        query = select(*_FILES.columns).join(_COPIES, _COPIES.c.file_id == _FILES.c.id).where(copied, _lives())
        async with self._database.session() as session:
            row = (await session.execute(query.limit(1))).first()
        return None if row is None else StoredFile(*row)

    async def write(self, file: StoredFile, chunks: AsyncIterator[bytes]) -> StoredFile:
        """Stores a file that comes bit by bit under the id it was promised; nobody sees it before it is whole.

        Begun again after a crash it takes the place of what the dead process left. Its size is what came.
        """
        await self.remove(file.id)
        size, number, rest = 0, 0, b""
        async for chunk in chunks:
            rest += chunk
            size += len(chunk)
            while len(rest) >= PART_BYTES:
                await self._write_part(file.id, number, rest[:PART_BYTES])
                number, rest = number + 1, rest[PART_BYTES:]
        if rest:
            await self._write_part(file.id, number, rest)
        whole = msgspec.structs.replace(file, size=size)
        async with self._database.session() as session:
            await session.execute(insert(_FILES), {name: getattr(whole, name) for name in whole.__struct_fields__})
        return whole

    async def _write_part(self, identity: str, number: int, data: bytes) -> None:
        async with self._database.session() as session:
            await session.execute(insert(_PARTS), {"file_id": identity, "number": number, "data": data})

    async def find(self, identity: str) -> StoredFile | None:
        """A file of any team, or None."""
        async with self._database.session() as session:
            row = (await session.execute(select(*_FILES.columns).where(_FILES.c.id == identity, _lives()))).first()
        return None if row is None else StoredFile(*row)

    async def named(self, team: str, purpose: str, filename: str) -> StoredFile | None:
        """The team's newest file of that name and purpose, or None."""
        mine = (_FILES.c.team == team, _FILES.c.purpose == purpose, _FILES.c.filename == filename, _lives())
        query = select(*_FILES.columns).where(*mine).order_by(_FILES.c.created_at.desc()).limit(1)
        async with self._database.session() as session:
            row = (await session.execute(query)).first()
        return None if row is None else StoredFile(*row)

    async def several(self, identities: tuple[str, ...], team: str) -> dict[str, StoredFile]:
        """Those of the files that are the team's, by id."""
        mine = (_FILES.c.id.in_(identities), _FILES.c.team == team, _lives())
        async with self._database.session() as session:
            rows = await session.execute(select(*_FILES.columns).where(*mine))
            return {row[0]: StoredFile(*row) for row in rows}

    async def page(self, team: str, asked: PageAsked, purpose: str | None = None) -> Page[StoredFile]:
        """A page of the team's files, of one purpose or all. Raises InvalidRequest (400) for an unknown cursor."""
        query = select(*_FILES.columns).where(_FILES.c.team == team, _lives())
        if purpose is not None:
            query = query.where(_FILES.c.purpose == purpose)
        async with self._database.session() as session:
            rows, has_more = await page_of(session, query, _FILES, asked)
        return Page(tuple(StoredFile(*row) for row in rows), has_more)

    async def parts(self, identity: str) -> AsyncIterator[bytes]:
        """A file's bytes in order, a MiB at a time; they may end early when the file is deleted meanwhile."""
        number = 0
        while True:
            asked = select(_PARTS.c.data).where(_PARTS.c.file_id == identity, _PARTS.c.number == number)
            async with self._database.session() as session:
                data = (await session.execute(asked)).scalar()
            if data is None:
                return
            yield bytes(data)
            number += 1

    async def content(self, file: StoredFile) -> bytes:
        """A file's bytes. Raises NotFound (404) when they are not there whole any more."""
        content = b"".join([part async for part in self.parts(file.id)])
        if len(content) != file.size:
            raise NotFound(f"File {file.id!r} was deleted.")
        return content

    async def remove(self, identity: str) -> None:
        """Deletes a file with its bytes."""
        async with self._database.session() as session:
            await session.execute(delete(_FILES).where(_FILES.c.id == identity))
            await session.execute(delete(_PARTS).where(_PARTS.c.file_id == identity))

    async def copies(self, identity: str) -> dict[str, str]:
        """The file's ids at upstreams, by their names."""
        query = select(_COPIES.c.upstream, _COPIES.c.upstream_id).where(_COPIES.c.file_id == identity)
        async with self._database.session() as session:
            return {row[0]: row[1] for row in await session.execute(query)}

    async def copied(self, identity: str, team: str, upstream: str, upstream_id: str) -> None:
        """Remembers where a file of a team lies at an upstream; it need not be here yet."""
        here = (_COPIES.c.file_id == identity, _COPIES.c.upstream == upstream)
        row = {"file_id": identity, "upstream": upstream, "upstream_id": upstream_id, "team": team}
        async with self._database.session() as session:
            await session.execute(delete(_COPIES).where(*here))
            await session.execute(insert(_COPIES), row)

    async def of_others(self, upstream_ids: Sequence[str], team: str) -> list[str]:
        """Those of some files of upstreams that are known here, and not as this team's. One of nobody is closed."""
        owner = func.coalesce(_COPIES.c.team, _FILES.c.team)
        known = select(_COPIES.c.upstream_id, owner).outerjoin(_FILES, _FILES.c.id == _COPIES.c.file_id)
        owners: dict[str, set[str | None]] = {}
        async with self._database.session() as session:
            for start in range(0, len(upstream_ids), MOST_ASKED):
                some = upstream_ids[start : start + MOST_ASKED]
                for identity, whose in await session.execute(known.where(_COPIES.c.upstream_id.in_(some))):
                    owners.setdefault(identity, set()).add(whose)
        return [identity for identity, teams in owners.items() if team not in teams]

    async def ours_at(self, upstream: str, upstream_ids: tuple[str, ...]) -> frozenset[str]:
        """Those of an upstream's files that are copies of ours."""
        query = select(_COPIES.c.upstream_id).where(
            _COPIES.c.upstream == upstream, _COPIES.c.upstream_id.in_(upstream_ids)
        )
        async with self._database.session() as session:
            return frozenset((await session.execute(query)).scalars())

    async def expired(self, now: float) -> list[StoredFile]:
        """Files whose time is over and whose bytes are still there."""
        async with self._database.session() as session:
            rows = await session.execute(select(*_FILES.columns).where(_FILES.c.expires_at <= now).limit(100))
            return [StoredFile(*row) for row in rows]


def fresh_file(team: str, filename: str, purpose: str, size: int, expires_seconds: int | None = None) -> StoredFile:
    """A file that is about to be stored, under a fresh id."""
    identity = OUR_IDS + new_id("").removeprefix("_")
    now = _made_at(identity)
    ends = None if expires_seconds is None else now + expires_seconds
    return StoredFile(identity, team, filename, purpose, size, now, ends)


def _lives() -> ColumnElement[bool]:
    return or_(_FILES.c.expires_at.is_(None), _FILES.c.expires_at > time.time())


def _made_at(identity: str) -> float:
    return int(identity.removeprefix(OUR_IDS)[:12], 16) / 1000
