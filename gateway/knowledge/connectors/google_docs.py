"""Google Docs in folders of Drive."""

import asyncio
import re
from collections.abc import AsyncIterator
from urllib.parse import quote

import msgspec

from gateway.knowledge.connectors import Change, Fault, Kind, Mark, Removal, Upsert
from gateway.knowledge.document import read_markdown, write_document
from gateway.knowledge.remote.fetch import Fetcher, FetchFailed, Query
from gateway.knowledge.remote.google_account import google_headers
from gateway.knowledge.remote.shapes import attributes_of, decoded, fetching
from gateway.knowledge.settings import RemoteSettings

DOCUMENT = "application/vnd.google-apps.document"
FOLDER = "application/vnd.google-apps.folder"
FIELDS = "id,name,mimeType,modifiedTime,webViewLink,trashed,parents"
MOST_FOLDERS = 2000
ALL_DRIVES = (("supportsAllDrives", "true"), ("includeItemsFromAllDrives", "true"))
# Pictures come along in the text, as lines of base64.
_PICTURE = re.compile(r"^\[image\d+\]: <data:[^>\n]*>\s*$|!\[\]\[image\d+\]", re.MULTILINE)


class GoogleDocsSettings(RemoteSettings, frozen=True, kw_only=True):
    """folders: ids; what lies in them, or in folders in them, is taken and nothing else. credentials: a reference."""

    folders: tuple[str, ...]
    credentials: str | None = None

    @property
    def key(self) -> str:
        """By the folders: all sources share one address."""
        return f"{self.kind}:{','.join(self.folders)}"


class _File(msgspec.Struct):
    id: str
    name: str = ""
    mime_type: str = msgspec.field(default="", name="mimeType")
    modified: str = msgspec.field(default="", name="modifiedTime")
    link: str | None = msgspec.field(default=None, name="webViewLink")
    trashed: bool = False
    parents: list[str] = []


class _Files(msgspec.Struct):
    files: list[_File]
    next: str | None = msgspec.field(default=None, name="nextPageToken")


class _Change(msgspec.Struct):
    file_id: str | None = msgspec.field(default=None, name="fileId")
    removed: bool = False
    file: _File | None = None


class _Changes(msgspec.Struct):
    changes: list[_Change]
    next: str | None = msgspec.field(default=None, name="nextPageToken")
    start: str | None = msgspec.field(default=None, name="newStartPageToken")


class _Start(msgspec.Struct):
    start: str = msgspec.field(name="startPageToken")


class _Cursor(msgspec.Struct):
    """token: changes after it are not told. seen: how far a whole pass has come, None between such passes."""

    settings: str = ""
    token: str = ""
    folders: list[str] = []
    ids: dict[str, str] = {}
    seen: list[str] | None = None


class GoogleDocsConnector:
    """Ids are file ids. The first pass lists; later ones ask Drive what changed, and list anew when folders moved.

    Drive shows an account only what was shared with it; who else may read a file there is not looked at.
    """

    def __init__(self, settings: GoogleDocsSettings) -> None:
        self._settings = settings

    async def changes(self, cursor: str | None) -> AsyncIterator[Change]:
        """See Connector."""
        async for change in fetching(
            self._settings,
            lambda: google_headers(self._settings.credentials, self._settings.private_network),
            lambda fetcher: self._pass(fetcher, cursor),
        ):
            yield change

    async def _pass(self, fetcher: Fetcher, cursor: str | None) -> AsyncIterator[Change]:
        known = _read_cursor(cursor)
        if known.settings != self._settings.fingerprint:
            known = _Cursor(self._settings.fingerprint, ids=dict.fromkeys(known.ids, ""))
        try:
            folders = await self._below(fetcher)
            if not known.token or known.seen is not None or known.folders != folders:
                known.folders = folders
                async for change in self._whole(fetcher, known):
                    yield change
            try:
                async for change in self._changed(fetcher, known):
                    yield change
            except FetchFailed as fault:
                if fault.status not in {400, 404, 410}:
                    raise
                # The token is too old to go on from.
                known.token = ""
                async for change in self._whole(fetcher, known):
                    yield change
        except FetchFailed as fault:
            yield Fault(fault.line, "*", fault.retry_after_seconds)
            return
        yield Mark(msgspec.json.encode(known).decode())

    async def _below(self, fetcher: Fetcher) -> list[str]:
        """The folders of the settings and all below them, sorted. Raises FetchFailed."""
        found = dict.fromkeys(self._settings.folders)
        waiting = list(found)
        while waiting:
            async for page in self._files(fetcher, waiting.pop(), FOLDER):
                for folder in page:
                    if folder.id not in found:
                        found[folder.id] = None
                        waiting.append(folder.id)
            if len(found) > MOST_FOLDERS:
                raise FetchFailed(f"{self._settings.key}: more than {MOST_FOLDERS} folders.")
        return sorted(found)

    async def _files(self, fetcher: Fetcher, folder: str, mime: str) -> AsyncIterator[list[_File]]:
        token: str | None = None
        wanted = f"'{folder}' in parents and mimeType = '{mime}' and trashed = false"
        while True:
            query: list[tuple[str, str]] = [("q", wanted), ("pageSize", "100"), *ALL_DRIVES]
            query += [("fields", f"nextPageToken,files({FIELDS})"), ("orderBy", "createdTime")]
            found = decoded(await fetcher.get("drive/v3/files", [*query, *_token(token)]), _Files)
            yield found.files
            token = found.next
            if token is None:
                return

    async def _whole(self, fetcher: Fetcher, known: _Cursor) -> AsyncIterator[Change]:
        if known.seen is None or not known.token:
            # Taken before listing: what is edited meanwhile is among the changes after it.
            reply = await fetcher.get("drive/v3/changes/startPageToken", [ALL_DRIVES[0]])
            known.token, known.seen = decoded(reply, _Start).start, []
        seen = dict.fromkeys(known.seen)
        for folder in known.folders:
            async for page in self._files(fetcher, folder, DOCUMENT):
                for file in page:
                    if file.id not in seen and known.ids.get(file.id) != file.modified:
                        yield await self._read(fetcher, known, file)
                    seen[file.id] = None
                known.seen = list(seen)
                yield Mark(msgspec.json.encode(known).decode())
        for identity in [identity for identity in known.ids if identity not in seen]:
            del known.ids[identity]
            yield Removal(identity)
        known.seen = None

    async def _changed(self, fetcher: Fetcher, known: _Cursor) -> AsyncIterator[Change]:
        token: str | None = known.token
        while token is not None:
            query: Query = [("pageToken", token), ("pageSize", "100"), ("includeRemoved", "true"), *ALL_DRIVES]
            fields = ("fields", f"nextPageToken,newStartPageToken,changes(fileId,removed,file({FIELDS}))")
            found = decoded(await fetcher.get("drive/v3/changes", [*query, fields]), _Changes)
            for change in found.changes:
                file = change.file
                is_in = file is not None and not change.removed and not file.trashed
                if file is None or not is_in or not set(file.parents) & set(known.folders):
                    if known.ids.pop(change.file_id or "", None) is not None:
                        yield Removal(change.file_id or "")
                elif file.mime_type == DOCUMENT and known.ids.get(file.id) != file.modified:
                    yield await self._read(fetcher, known, file)
            token = found.next
            known.token = token or found.start or known.token
            if token is not None:
                yield Mark(msgspec.json.encode(known).decode())

    async def _read(self, fetcher: Fetcher, known: _Cursor, file: _File) -> Change:
        path = f"drive/v3/files/{quote(file.id, safe='')}/export"
        try:
            reply = await fetcher.get(path, [("mimeType", "text/markdown")])
        except FetchFailed as fault:
            if fault.status not in {400, 403, 404, 413}:
                raise
            # Of one file and not of all: too large to be exported, or not to be downloaded.
            return Fault(fault.line, file.id)
        known.ids[file.id] = file.modified
        text = _PICTURE.sub("", reply.body.decode("utf-8-sig", errors="replace"))
        page = await asyncio.to_thread(read_markdown, file.id, text, file.link)
        told = attributes_of(source="google_docs", updated_at=file.modified)
        return Upsert(write_document(file.id, file.name or page.title, page.text, file.link, attributes=told))


def _token(token: str | None) -> list[tuple[str, str]]:
    return [] if token is None else [("pageToken", token)]


def _read_cursor(cursor: str | None) -> _Cursor:
    try:
        return msgspec.json.decode(cursor, type=_Cursor) if cursor else _Cursor()
    except msgspec.DecodeError:
        return _Cursor()


CONNECTOR = Kind(GoogleDocsSettings, GoogleDocsConnector)
