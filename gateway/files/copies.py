"""Files of ours at an upstream that needs them: copied when they are first asked for, and never twice."""

import msgspec

from gateway.core.errors import UpstreamFailed
from gateway.core.ids import new_id
from gateway.core.stored_file import StoredFile
from gateway.files.store import FileStore
from gateway.upstream.asking import ask
from gateway.upstream.upstreams import Upstream

MISSING = 404


class CopyRefused(Exception):
    """The upstream will not have the file. Its text says why, as the upstream does."""


class _Error(msgspec.Struct):
    message: str = ""


class _Answer(msgspec.Struct):
    id: str = ""
    error: _Error | None = None


class Copies:
    """Copies files. One that the upstream has lost since is copied anew."""

    def __init__(self, files: FileStore) -> None:
        self._files = files

    async def at(self, upstream: Upstream, file: StoredFile, purpose: str) -> str:
        """The file's id there. Raises CopyRefused, UpstreamFailed (502), and NotFound when it was deleted here."""
        known = (await self._files.copies(file.id)).get(upstream.name)
        if known is not None:
            status, _ = await ask(upstream, "GET", f"/files/{known}")
            if status != MISSING:
                return known
        body, kind = form(file.filename, await self._files.content(file), {"purpose": purpose})
        status, answer = await ask(upstream, "POST", "/files", body, kind)
        told = _read(answer)
        if status >= 500 or status in {401, 403, 429} or (status < 300 and not told.id):
            raise UpstreamFailed(f"Upstream {upstream.name!r} answered {status} to a file.")
        if status >= 300:
            raise CopyRefused(told.error.message if told.error is not None else f"It answered {status}.")
        await self._files.copied(file.id, file.team, upstream.name, told.id)
        return told.id


def form(filename: str, content: bytes, fields: dict[str, str]) -> tuple[bytes, str]:
    """A multipart form with some fields and then a file, and its content type."""
    boundary = new_id("form")
    name = (
        filename.encode("utf-8").replace(b"\\", b"\\\\").replace(b'"', b"%22").replace(b"\r", b"").replace(b"\n", b"")
    )
    parts = [
        b'--%b\r\ncontent-disposition: form-data; name="%b"\r\n\r\n%b\r\n'
        % (boundary.encode(), field.encode(), value.encode())
        for field, value in fields.items()
    ]
    head = b'--%b\r\ncontent-disposition: form-data; name="file"; filename="%b"\r\n' % (boundary.encode(), name)
    parts += [head, b"content-type: application/octet-stream\r\n\r\n", content, b"\r\n--%b--\r\n" % boundary.encode()]
    return b"".join(parts), f"multipart/form-data; boundary={boundary}"


def _read(answer: bytes) -> _Answer:
    try:
        return msgspec.json.decode(answer, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Answer()
