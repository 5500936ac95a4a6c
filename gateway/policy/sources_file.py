"""The sources of policies/knowledge.yaml, one entry for each kind of place that documents come from."""

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from gateway.core.document import UNTOLD, Written
from gateway.policy.models_file import Secret

_DURATION = re.compile(r"([1-9][0-9]{0,5})(s|m|h|d)")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_REPOSITORY = re.compile(r"(https?|ssh|file)://[^\s@]+|ssh://[\w.-]+@[^\s@]+|[\w.-]+@[\w.-]+:[^\s]+|[^\s:-][^:]*")


def seconds_of(written: str) -> float:
    """A duration such as `30s`, `5m`, `2h` or `1d` in seconds. Raises ValueError."""
    found = _DURATION.fullmatch(written)
    if found is None:
        raise ValueError("it must be a number with its unit, such as 30s, 5m, 2h or 1d")
    return int(found[1]) * _UNITS[found[2]]


def is_folder(repository: str) -> bool:
    """Whether a repository's address names a folder of this machine."""
    return ":" not in repository


def _is_duration(written: str) -> str:
    seconds_of(written)
    return written


def _is_place(written: str) -> str:
    parts = urlsplit(written)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("it must be http(s)://host[:port][/path]")
    if parts.username is not None or parts.password is not None:
        raise PydanticCustomError(UNTOLD, "a secret is never written out; leave name and password out of the address")
    if not written.isascii() or " " in written or parts.port == 0:  # `port` raises ValueError for what is none
        raise ValueError("its host and path must be plain ASCII without spaces, its port between 1 and 65535")
    return written.rstrip("/")


def _is_repository(written: str) -> str:
    if re.match(r"\w+://[^/@]*:[^/@]*@", written) or re.match(r"https?://[^/]*@", written):
        raise PydanticCustomError(UNTOLD, "a secret is never written out; leave name and password out of the address")
    if not _REPOSITORY.fullmatch(written) or written.startswith("-"):
        raise ValueError("it must be a folder, https://host/path, ssh://host/path or user@host:path")
    return written


Duration = Annotated[str, AfterValidator(_is_duration)]
Place = Annotated[str, AfterValidator(_is_place)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")]


class LocalEntry(Written):
    """A folder, searched through, or one JSONL file; a change is noticed at once.

    path: relative to the policies folder unless absolute. include: globs on the path below the folder.
    """

    kind: Literal["folder", "jsonl"] = "folder"
    path: str
    include: list[str] = []


class GitEntry(Written):
    """A Git repository. url: its address or a folder. branch: the default one unless named. include: globs on paths.

    username, token: for https, the token as env:NAME or file:PATH. every: how often it is fetched.
    """

    kind: Literal["git"]
    url: Annotated[str, AfterValidator(_is_repository)]
    branch: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")] | None = None
    include: list[str] = []
    username: str = "git"
    token: Secret | None = None
    every: Duration = "5m"


class RemoteEntry(Written):
    """What all places asked over HTTP have. every: how often. requests_per_second: at most.

    restricted: teams that may read what is restricted there; without it such documents are left out.
    private_network: the host's name may lead to an address that is not public.
    """

    every: Duration = "5m"
    requests_per_second: Annotated[float, Field(gt=0, le=1000)] | None = None
    restricted: Annotated[list[str], Field(min_length=1)] | None = None
    private_network: bool = False


class WebsiteEntry(RemoteEntry):
    """A website by its sitemap. url: only pages below it are read. sitemap: its address, when robots.txt names none.

    include, exclude: globs on the path. pages, page_bytes: the most that is read.
    """

    kind: Literal["website"]
    url: Place
    sitemap: Place | None = None
    include: list[str] = []
    exclude: list[str] = []
    pages: Count = 5000
    page_bytes: Annotated[int, Field(ge=1024, le=64 * 1024 * 1024)] = 4 * 1024 * 1024


class ZendeskEntry(RemoteEntry):
    """A help centre, or the solved tickets, of Zendesk. url: https://NAME.zendesk.com. locale: of the help centre.

    username, token: an agent's address and API token; a help centre is read as a visitor without them.
    """

    kind: Literal["zendesk", "zendesk_tickets"]
    url: Place
    locale: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{2,20}$")] = "en-us"
    username: str = ""
    token: Secret | None = None

    @model_validator(mode="after")
    def _opened(self) -> "ZendeskEntry":
        if self.token is None and self.kind == "zendesk_tickets":
            raise ValueError("tickets are read with `token` and `username`")
        if (self.token is None) != (not self.username):
            raise ValueError("`username` and `token` go together")
        return self


class FreshdeskEntry(RemoteEntry):
    """The solutions, or the solved tickets, of Freshdesk. url: https://NAME.freshdesk.com. token: the API key.

    since: the day of the oldest ticket, such as 2026-01-01.
    """

    kind: Literal["freshdesk", "freshdesk_tickets"]
    url: Place
    token: Secret
    since: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")] = "2015-01-01"


class ConfluenceEntry(RemoteEntry):
    """Pages of Confluence. url: https://NAME.atlassian.net. spaces: their ids, all without it.

    username, token: an account's address and API token.
    """

    kind: Literal["confluence"]
    url: Place
    spaces: list[Id] = []
    username: str
    token: Secret


class GoogleDocsEntry(RemoteEntry):
    """Documents in folders of Google Drive. folders: their ids; only what lies in them is taken.

    credentials: the JSON of a service account, or of an authorized user with a refresh token.
    """

    kind: Literal["google_docs"]
    url: Place = "https://www.googleapis.com"
    folders: Annotated[list[Id], Field(min_length=1)]
    credentials: Secret


class NotionEntry(RemoteEntry):
    """Pages of Notion that an integration was given. databases: only their pages, all pages without it."""

    kind: Literal["notion"]
    url: Place = "https://api.notion.com"
    databases: list[Id] = []
    token: Secret


KINDS: dict[str, type[Written]] = {
    "confluence": ConfluenceEntry,
    "folder": LocalEntry,
    "freshdesk": FreshdeskEntry,
    "freshdesk_tickets": FreshdeskEntry,
    "git": GitEntry,
    "google_docs": GoogleDocsEntry,
    "jsonl": LocalEntry,
    "notion": NotionEntry,
    "website": WebsiteEntry,
    "zendesk": ZendeskEntry,
    "zendesk_tickets": ZendeskEntry,
}
# Kinds that share an entry go under the name of the first.
_TAGS = {"jsonl": "folder", "freshdesk_tickets": "freshdesk", "zendesk_tickets": "zendesk"}
SECRETS = ("token", "credentials")


def _tag(written: Any) -> Any:
    kind = written.get("kind", "folder") if isinstance(written, dict) else getattr(written, "kind", None)
    return _TAGS.get(kind, kind) if isinstance(kind, str) and kind in KINDS else None


SourceEntry = Annotated[
    Annotated[LocalEntry, Tag("folder")]
    | Annotated[GitEntry, Tag("git")]
    | Annotated[WebsiteEntry, Tag("website")]
    | Annotated[ZendeskEntry, Tag("zendesk")]
    | Annotated[FreshdeskEntry, Tag("freshdesk")]
    | Annotated[ConfluenceEntry, Tag("confluence")]
    | Annotated[GoogleDocsEntry, Tag("google_docs")]
    | Annotated[NotionEntry, Tag("notion")],
    Discriminator(_tag, "kind", f"a source has a `kind`, which is one of {', '.join(KINDS)}"),
]
