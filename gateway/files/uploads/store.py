"""Uploads in the database: announced, sent in parts, put together."""

import hashlib
import time
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy import Table, delete, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.core.errors import Conflict, InvalidRequest
from gateway.core.ids import new_id
from gateway.core.stored_file import StoredFile
from gateway.core.values import Value
from gateway.db.engine import Database
from gateway.files.store import PART_BYTES, fresh_file
from gateway.files.tables import FilePartRow, FileRow, UploadPartRow, UploadPieceRow, UploadRow

_FILES: Table = FileRow.__table__  # type: ignore[attr-defined]  # SQLModel adds it at run time
_FILE_PARTS: Table = FilePartRow.__table__  # type: ignore[attr-defined]  # the same
_UPLOADS: Table = UploadRow.__table__  # type: ignore[attr-defined]  # the same
_PARTS: Table = UploadPartRow.__table__  # type: ignore[attr-defined]  # the same
_PIECES: Table = UploadPieceRow.__table__  # type: ignore[attr-defined]  # the same

# OpenAI's: an upload is open for an hour.
OPEN_SECONDS = 3_600.0
Status = Literal["pending", "completed", "cancelled", "expired"]


class Upload(Value, frozen=True):
    """A file that comes in parts. file_seconds: how long the file is kept once it is whole, None for ever."""

    id: str
    team: str
    filename: str
    purpose: str
    mime_type: str
    size: int
    created_at: float
    expires_at: float
    status: Status = "pending"
    file_id: str | None = None
    file_seconds: int | None = None


class Part(Value, frozen=True):
    """A part of an upload."""

    id: str
    upload_id: str
    size: int
    created_at: float


class Uploads:
    """Keeps uploads. One that is past its time is `expired`; its bytes go with the next sweep."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, upload: Upload) -> None:
        """Announces a file."""
        async with self._database.session() as session:
            await session.execute(insert(_UPLOADS), _row(upload))

    async def find(self, identity: str) -> Upload | None:
        """An upload of any team, or None."""
        async with self._database.session() as session:
            row = (await session.execute(select(*_UPLOADS.columns).where(_UPLOADS.c.id == identity))).first()
        found = None if row is None else Upload(*row)
        if found is not None and found.status == "pending" and found.expires_at <= time.time():
            return msgspec.structs.replace(found, status="expired")
        return found

    async def add_part(self, upload: Upload, content: bytes) -> Part:
        """Takes a part. Raises Conflict (409) when the upload is not open any more, InvalidRequest (400) if larger."""
        part = Part(new_id("part"), upload.id, len(content), time.time())
        async with self._database.session() as session:
            await self._open(session, upload)
            sent = select(func.coalesce(func.sum(_PARTS.c.size), 0)).where(_PARTS.c.upload_id == upload.id)
            if int((await session.execute(sent)).scalar_one()) + len(content) > upload.size:
                told = f"The parts have more bytes than the {upload.size} that the upload was announced with."
                raise InvalidRequest(told, param="data")
            await session.execute(insert(_PARTS), _row(part))
            for number, start in enumerate(range(0, len(content), PART_BYTES)):
                piece = {"part_id": part.id, "number": number, "data": content[start : start + PART_BYTES]}
                await session.execute(insert(_PIECES), piece)
        return part

    async def complete(self, upload: Upload, part_ids: Sequence[str], md5: str | None) -> StoredFile:
        """Puts the parts together in the order given, all or nothing.

        Raises InvalidRequest (400) for parts that are not there or do not come to the announced size or sum, Conflict
        (409) when the upload is not open any more.
        """
        async with self._database.session() as session:
            await self._open(session, upload)
            sizes = await self._sizes(session, upload, part_ids)
            if sum(sizes) != upload.size:
                told = f"The parts have {sum(sizes)} bytes together; the upload was announced with {upload.size}."
                raise InvalidRequest(told, param="part_ids")
            file = fresh_file(upload.team, upload.filename, upload.purpose, upload.size, upload.file_seconds)
            digest = await self._moved(session, file.id, part_ids)
            if md5 is not None and digest != md5.lower():
                raise InvalidRequest(f"The file's MD5 is {digest}, not {md5}.", param="md5")
            await session.execute(insert(_FILES), _row(file))
            done = {"status": "completed", "file_id": file.id}
            await session.execute(update(_UPLOADS).where(_UPLOADS.c.id == upload.id).values(**done))
            await self._forget_parts(session, upload.id)
        return file

    async def cancel(self, upload: Upload) -> Upload:
        """Gives an upload up. Raises Conflict (409) when it is not open any more."""
        async with self._database.session() as session:
            await self._open(session, upload)
            await session.execute(update(_UPLOADS).where(_UPLOADS.c.id == upload.id).values(status="cancelled"))
            await self._forget_parts(session, upload.id)
        return msgspec.structs.replace(upload, status="cancelled")

    async def sweep(self, now: float) -> int:
        """Forgets the bytes of uploads whose time is over; gives how many there were."""
        over = (_UPLOADS.c.status == "pending") & (_UPLOADS.c.expires_at <= now)
        async with self._database.session() as session:
            found = list((await session.execute(select(_UPLOADS.c.id).where(over).limit(100))).scalars())
            for identity in found:
                await self._forget_parts(session, identity)
                await session.execute(update(_UPLOADS).where(_UPLOADS.c.id == identity).values(status="expired"))
        return len(found)

    async def _open(self, session: AsyncSession, upload: Upload) -> None:
        """Takes the upload's row for this transaction: what two callers do at once, they do in turn."""
        open_still = (_UPLOADS.c.id == upload.id) & (_UPLOADS.c.status == "pending")
        open_still &= _UPLOADS.c.expires_at > time.time()
        taken = await session.execute(update(_UPLOADS).where(open_still).values(status="pending"))
        if not taken.rowcount:  # type: ignore[attr-defined]  # of an UPDATE it is there
            raise Conflict(f"Upload {upload.id!r} is not open any more.")

    async def _sizes(self, session: AsyncSession, upload: Upload, part_ids: Sequence[str]) -> list[int]:
        query = select(_PARTS.c.id, _PARTS.c.size).where(_PARTS.c.upload_id == upload.id)
        known = {row[0]: int(row[1]) for row in await session.execute(query)}
        missing = [one for one in part_ids if one not in known]
        if missing or len(set(part_ids)) != len(part_ids):
            told = f"{missing[0]!r} is no part of this upload." if missing else "A part is named twice."
            raise InvalidRequest(told, param="part_ids")
        return [known[one] for one in part_ids]

    async def _moved(self, session: AsyncSession, file_id: str, part_ids: Sequence[str]) -> str:
        """Has the pieces become the file's; gives its MD5. One piece at a time is in memory."""
        digest = hashlib.md5(usedforsecurity=False)
        number = 0
        for part_id in part_ids:
            pieces = select(_PIECES.c.number).where(_PIECES.c.part_id == part_id).order_by(_PIECES.c.number)
            for piece in list((await session.execute(pieces)).scalars()):
                here = (_PIECES.c.part_id == part_id) & (_PIECES.c.number == piece)
                data = (await session.execute(select(_PIECES.c.data).where(here))).scalar_one()
                digest.update(bytes(data))
                copy = select(literal(file_id), literal(number), _PIECES.c.data).where(here)
                await session.execute(insert(_FILE_PARTS).from_select(["file_id", "number", "data"], copy))
                number += 1
        return digest.hexdigest()

    async def _forget_parts(self, session: AsyncSession, upload_id: str) -> None:
        parts = select(_PARTS.c.id).where(_PARTS.c.upload_id == upload_id)
        await session.execute(delete(_PIECES).where(_PIECES.c.part_id.in_(parts.scalar_subquery())))
        await session.execute(delete(_PARTS).where(_PARTS.c.upload_id == upload_id))


def _row(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__struct_fields__}
