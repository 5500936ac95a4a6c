"""/v1/files: what a team has uploaded for its documents."""

import contextlib
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from gateway.core.call import Inbound, Principal
from gateway.core.errors import InvalidRequest, NotFound, UpstreamFailed
from gateway.core.page import Page, PageAsked
from gateway.core.stored_file import StoredFile
from gateway.files.store import OUR_IDS, FileStore
from gateway.http.local.foreign import ForeignFiles
from gateway.http.local.reading import FormField, form_of, page_asked, query_of
from gateway.http.local.replies import Json, deleted, file_object, listed
from gateway.knowledge.vector_stores.loads.store import StoreFiles

# What is looked up here; files of other purposes are the input of a provider's jobs, and are kept there.
OURS = frozenset({"assistants", "user_data", "fine-tune", "evals", "batch"})
# What only jobs and batches here write is read back from here too.
WRITTEN = frozenset({"fine-tune-results", "batch_output"})
PURPOSES = OURS | {"vision"}
MOST_FILES = 10_000
# The path of what is passed on; a key that may not take it sees none of a provider's files.
PASSED_ON = "passthrough"
SHORTEST_SECONDS, LONGEST_SECONDS = 3_600, 2_592_000
MOST_NAME_CHARACTERS = 255

# Takes a file out of a vector store, by their ids.
TakeOut = Callable[[str, str], Awaitable[None]]


class Files:
    """Answers for files. Deleting one takes it out of every vector store too, and first."""

    def __init__(self, files: FileStore, inside: StoreFiles, foreign: ForeignFiles) -> None:
        self.store = files
        self._foreign = foreign
        self._inside = inside

    async def upload(self, inbound: Inbound, principal: Principal) -> Json | None:
        """Stores a file; None for a purpose whose files are kept upstream. Raises InvalidRequest (400)."""
        form = form_of(inbound)
        purpose = _text(form, "purpose")
        if purpose not in PURPOSES:
            raise InvalidRequest(
                f"purpose is {purpose!r}; it must be one of {', '.join(sorted(PURPOSES))}.", param="purpose"
            )
        if purpose not in OURS:
            return None
        file = form.get("file")
        if file is None or file.filename is None:
            raise InvalidRequest("The form has no field 'file' with a file in it.", param="file")
        if not file.content:
            raise InvalidRequest("The file is empty.", param="file")
        stored = await self.store.add(principal.team, plain_name(file.filename), purpose, file.content, _expires(form))
        return file_object(stored)

    async def page(self, inbound: Inbound, principal: Principal) -> Json | None:
        """A page of the team's files, or of a provider's; None for keys that may not be passed on to it.

        Without a purpose ours come first and the provider's after them, for keys that may be passed on.
        """
        query = query_of(inbound)
        purpose = query.get("purpose") or None
        asked = page_asked(query, most=MOST_FILES, otherwise=MOST_FILES)
        passes_on = not principal.allowed_paths or PASSED_ON in principal.allowed_paths
        if purpose is not None and purpose not in OURS | WRITTEN:
            return await self._foreign_page(asked, purpose) if passes_on else None
        # One that was imported is here under the id that it had there.
        is_theirs = asked.after is not None and not asked.after.startswith(OUR_IDS)
        if purpose is None and passes_on and is_theirs and await self.store.find(str(asked.after)) is None:
            return await self._foreign_page(asked)
        page = await self.store.page(principal.team, asked, purpose)
        items = [file_object(file) for file in page.items]
        if purpose is None and passes_on and not page.has_more and asked.before is None:
            room = asked.limit - len(items)
            first = msgspec.structs.replace(asked, limit=max(1, room), after=None)
            # Many servers that speak OpenAI keep no files; a list of ours is not to fail for that.
            foreign: list[Json] = []
            more = False
            with contextlib.suppress(UpstreamFailed):
                foreign, more = await self._foreign.page(first)
            items += foreign[:room]
            page = Page((), has_more=more or len(foreign) > room)
        return listed(page, items)

    async def _foreign_page(self, asked: PageAsked, purpose: str | None = None) -> Json:
        """Not passed on: the provider's list has copies and results of every team."""
        foreign, more = await self._foreign.page(asked, purpose)
        return listed(Page((), has_more=more), foreign)

    async def find(self, identity: str, principal: Principal) -> StoredFile | None:
        """The team's file; None for one that is not known here. Raises NotFound (404) for another team's.

        By the id that it has at a provider, too.
        """
        file = await self.store.find(identity)
        if file is None and not identity.startswith(OUR_IDS):
            await self.require_open((identity,), principal)
        if file is not None and file.team != principal.team:
            raise no_file(identity)
        return file

    async def require_open(self, ids: Sequence[str], principal: Principal) -> None:
        """Raises NotFound (404) when one of these files of providers is here known as another team's."""
        for closed in await self.store.of_others(ids, principal.team):
            raise no_file(closed)

    async def contents(self, ids: tuple[str, ...], principal: Principal) -> dict[str, tuple[str, bytes]]:
        """Names and bytes of those of the files that are known here. Raises NotFound (404) for another team's."""
        found = {}
        for identity in ids:
            file = await self.find(identity, principal)
            if file is not None:
                found[identity] = (file.filename, await self.store.content(file))
        return found

    async def delete(self, file: StoredFile, take_out: TakeOut) -> Json:
        """Deletes a file, and takes it out of every vector store. take_out: of one store, by their ids."""
        for store in await self._inside.holding(file.id):
            await take_out(store, file.id)
        await self.store.remove(file.id)
        return deleted(file.id, "file")


def no_file(identity: str) -> NotFound:
    """A file that does not exist, or not for this team: the two look alike."""
    return NotFound(f"No such File object: {identity}", param="id")


def _text(form: dict[str, FormField], name: str) -> str | None:
    field = form.get(name)
    return None if field is None else field.content.decode("utf-8", "replace")


def _expires(form: dict[str, FormField]) -> int | None:
    anchor, seconds = _text(form, "expires_after[anchor]"), _text(form, "expires_after[seconds]")
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        raise InvalidRequest("expires_after.anchor must be 'created_at'.", param="expires_after.anchor")
    number = int(seconds) if seconds is not None and seconds.isascii() and seconds.isdigit() else 0
    if not SHORTEST_SECONDS <= number <= LONGEST_SECONDS:
        raise InvalidRequest(
            f"expires_after.seconds is {seconds!r}; it must be from {SHORTEST_SECONDS} to {LONGEST_SECONDS}.",
            param="expires_after.seconds",
        )
    return number


def plain_name(written: str) -> str:
    """A file's name as it is kept: the last part of a path, as some browsers send one, without NUL."""
    name = written.replace("\\", "/").rpartition("/")[2].replace("\0", "").strip()
    return name[-MOST_NAME_CHARACTERS:] or "upload"
