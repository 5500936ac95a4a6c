"""/v1/uploads: files that are too large for one request, in parts."""

from typing import Annotated

import msgspec

from gateway.core.call import Inbound, Principal
from gateway.core.clock import Clock
from gateway.core.errors import Conflict, InvalidRequest, NotFound, RouteNotFound
from gateway.core.ids import new_id
from gateway.core.stored_file import StoredFile
from gateway.files.store import FileStore
from gateway.files.uploads.store import OPEN_SECONDS, Part, Upload, Uploads
from gateway.http.local.files import LONGEST_SECONDS, OURS, PURPOSES, SHORTEST_SECONDS, plain_name
from gateway.http.local.reading import body_of, form_of
from gateway.http.local.replies import Json, file_object

# OpenAI's: 8 GB in all, 64 MB a part.
MOST_BYTES = 8 * 1024**3
MOST_PART_BYTES = 64 * 1024 * 1024
OUR_IDS = "upload_sw"


class _Expires(msgspec.Struct):
    anchor: str
    seconds: int


class _New(msgspec.Struct):
    filename: str
    purpose: str
    bytes: Annotated[int, msgspec.Meta(ge=1, le=MOST_BYTES)]
    mime_type: str
    expires_after: _Expires | None = None


class _Complete(msgspec.Struct):
    part_ids: list[str]
    md5: str | None = None


_new = msgspec.json.Decoder(_New)
_complete = msgspec.json.Decoder(_Complete)


class UploadParts:
    """Answers for uploads of teams. One of another team looks like one that does not exist."""

    def __init__(self, uploads: Uploads, files: FileStore, clock: Clock) -> None:
        self._uploads = uploads
        self._files = files
        self._clock = clock

    async def answer(self, rest: list[str], inbound: Inbound, principal: Principal) -> Json | None:
        """What a request below /v1/uploads comes to; None for what is a provider's."""
        if inbound.method != "POST":
            raise RouteNotFound(f"Unknown request URL: {inbound.method} {inbound.path}.")
        if not rest:
            return await self._create(inbound, principal)
        upload = await self._uploads.find(rest[0])
        if upload is None and not rest[0].startswith(OUR_IDS):
            return None
        if upload is None or upload.team != principal.team:
            raise NotFound(f"No such Upload object: {rest[0]}", param="upload_id")
        match rest[1:]:
            case ["parts"]:
                return await self._part(upload, inbound)
            case ["complete"]:
                return await self._whole(upload, inbound)
            case ["cancel"]:
                return upload_object(await self._uploads.cancel(upload))
        raise RouteNotFound(f"Unknown request URL: {inbound.method} {inbound.path}.")

    async def _create(self, inbound: Inbound, principal: Principal) -> Json | None:
        body = body_of(inbound, _new)
        if body.purpose not in PURPOSES:
            told = f"purpose is {body.purpose!r}; it must be one of {', '.join(sorted(PURPOSES))}."
            raise InvalidRequest(told, param="purpose")
        if body.purpose not in OURS:
            return None
        now = self._clock.wall()
        upload = Upload(
            id=new_id("").replace("_", OUR_IDS),
            team=principal.team,
            filename=plain_name(body.filename),
            purpose=body.purpose,
            mime_type=body.mime_type[:255],
            size=body.bytes,
            created_at=now,
            expires_at=now + OPEN_SECONDS,
            file_seconds=_seconds(body.expires_after),
        )
        await self._uploads.add(upload)
        return upload_object(upload)

    async def _part(self, upload: Upload, inbound: Inbound) -> Json:
        data = form_of(inbound).get("data")
        if data is None or not data.content:
            raise InvalidRequest("The form has no field 'data' with bytes in it.", param="data")
        if len(data.content) > MOST_PART_BYTES:
            told = f"A part has at most {MOST_PART_BYTES} bytes; this one has {len(data.content)}."
            raise InvalidRequest(told, param="data")
        return part_object(await self._uploads.add_part(upload, data.content))

    async def _whole(self, upload: Upload, inbound: Inbound) -> Json:
        body = body_of(inbound, _complete)
        if upload.status == "completed" and upload.file_id is not None:
            # Asked again because the answer was lost: the file is there.
            file = await self._files.find(upload.file_id)
            return upload_object(upload, file)
        try:
            file = await self._uploads.complete(upload, body.part_ids, body.md5)
        except Conflict:
            # Somebody else was first, such as the same request sent again.
            again = await self._uploads.find(upload.id)
            if again is None or again.status != "completed":
                raise
            return await self._whole(again, inbound)
        return upload_object(msgspec.structs.replace(upload, status="completed", file_id=file.id), file)


def upload_object(upload: Upload, file: StoredFile | None = None) -> Json:
    """An upload."""
    return {
        "id": upload.id,
        "object": "upload",
        "bytes": upload.size,
        "created_at": int(upload.created_at),
        "expires_at": int(upload.expires_at),
        "filename": upload.filename,
        "purpose": upload.purpose,
        "status": upload.status,
        "file": None if file is None else file_object(file),
    }


def part_object(part: Part) -> Json:
    """A part."""
    return {
        "id": part.id,
        "object": "upload.part",
        "created_at": int(part.created_at),
        "upload_id": part.upload_id,
    }


def _seconds(written: _Expires | None) -> int | None:
    if written is None:
        return None
    if written.anchor != "created_at" or not SHORTEST_SECONDS <= written.seconds <= LONGEST_SECONDS:
        told = f"expires_after has the anchor 'created_at' and from {SHORTEST_SECONDS} to {LONGEST_SECONDS} seconds."
        raise InvalidRequest(told, param="expires_after")
    return written.seconds
