"""/v1/files, held in memory: enough to upload a training file and read it back."""

import time
from collections.abc import Sequence
from email.message import Message
from typing import Any

import msgspec

from gateway.core.ids import new_id
from gateway.offline.exchange import Refusal


class StoredFile(msgspec.Struct, frozen=True):
    """A file and what is said about it."""

    id: str
    filename: str
    purpose: str
    content: bytes
    created_at: int

    def listed(self) -> dict[str, Any]:
        """As OpenAI describes it."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": len(self.content),
            "created_at": self.created_at,
            "expires_at": None,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
            "status_details": None,
        }


class FileShelf:
    """All files of this process, oldest first."""

    def __init__(self) -> None:
        self._files: dict[str, StoredFile] = {}

    def upload(self, body: bytes, content_type: str) -> dict[str, Any]:
        """Stores the `file` of a form. Raises Refusal (400) without a file or a purpose."""
        parts = read_form(body, content_type)
        if "file" not in parts or "purpose" not in parts:
            raise Refusal(400, "The form needs the fields 'file' and 'purpose'.", param="file")
        name, content = parts["file"]
        return self.add(name or "upload", parts["purpose"][1].decode("utf-8", "replace"), content).listed()

    def add(self, filename: str, purpose: str, content: bytes) -> StoredFile:
        """Stores a file."""
        file = StoredFile(new_id("file").replace("_", "-"), filename, purpose, content, int(time.time()))
        self._files[file.id] = file
        return file

    def file(self, file_id: str) -> StoredFile:
        """One file. Raises Refusal (404)."""
        found = self._files.get(file_id)
        if found is None:
            raise Refusal(404, f"No such File object: {file_id}", param="id")
        return found

    def delete(self, file_id: str) -> dict[str, Any]:
        """Removes a file. Raises Refusal (404)."""
        del self._files[self.file(file_id).id]
        return {"id": file_id, "object": "file", "deleted": True}

    def page(self, query: dict[str, str]) -> dict[str, Any]:
        """A page of files, newest first, of one purpose if the query names one."""
        wanted = query.get("purpose")
        files = [one.listed() for one in reversed(self._files.values()) if wanted in (None, one.purpose)]
        return page_of(files, query, 10_000)

    def reset(self) -> None:
        """Forgets all."""
        self._files.clear()


def page_of(items: Sequence[dict[str, Any]], query: dict[str, str], default_limit: int) -> dict[str, Any]:
    """OpenAI's list: `limit` items behind the one whose id is `after`."""
    ids = [item["id"] for item in items]
    start = ids.index(query["after"]) + 1 if query.get("after") in ids else 0
    given = query.get("limit", "")
    limit = max(1, int(given)) if given.isascii() and given.isdigit() else default_limit
    page = list(items[start : start + limit])
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": start + limit < len(items),
    }


def read_form(body: bytes, content_type: str) -> dict[str, tuple[str | None, bytes]]:
    """The fields of a multipart form: name -> (file name or None, content). Raises Refusal (400)."""
    boundary = _header(content_type).get_param("boundary")
    if not content_type.lower().startswith("multipart/form-data") or not isinstance(boundary, str):
        raise Refusal(400, "The body must be multipart/form-data with a boundary.")
    fields: dict[str, tuple[str | None, bytes]] = {}
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary.encode())[1:]:
        if part.startswith(b"--"):
            return fields
        head, mark, content = part.partition(b"\r\n\r\n")
        names = [
            line
            for line in head.decode("utf-8", "replace").splitlines()
            if line.lower().startswith("content-disposition:")
        ]
        if not mark or not names:
            break
        disposition = _header(names[0].partition(":")[2])
        name, filename = disposition.get_param("name"), disposition.get_param("filename")
        if isinstance(name, str):
            fields[name] = (filename if isinstance(filename, str) else None, content)
    raise Refusal(400, "The multipart body is broken or not complete.")


def _header(value: str) -> Message:
    message = Message()
    message["content-type"] = value.strip()
    return message
