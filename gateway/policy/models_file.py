"""policies/models.yaml: upstreams, models, and fine-tuned models as lines of versions."""

import re
from datetime import date
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from gateway.core.document import UNTOLD, Written

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
# The transport writes these from the address and the body.
OWN_HEADERS = frozenset({"host", "content-length", "connection", "transfer-encoding", "authorization"})
Seconds = Annotated[float, Field(gt=0, le=3600)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


def _is_secret_reference(value: str) -> str:
    if not value.startswith(("env:", "file:")):
        raise PydanticCustomError(UNTOLD, "a secret is never written out; it must be env:NAME or file:PATH")
    return value


def _is_base_url(value: str) -> str:
    url = value.split(":-", 1)[1] if value.startswith("env:") and ":-" in value else value
    if url.startswith("env:"):
        return value
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("it must be http(s)://host[:port][/path], or env:NAME:-default")
    if not url.isascii() or " " in url or parts.port == 0:  # `port` raises ValueError for what is none
        raise ValueError("its host and path must be plain ASCII without spaces, its port between 1 and 65535")
    return value


def _may_be_sent(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not _HEADER.fullmatch(name) or name.lower() in OWN_HEADERS:
            raise ValueError(f"{name!r} is no header that can be set here")
        if not value.isascii() or not value.isprintable():
            raise ValueError(f"the value of {name!r} must be printable ASCII on one line")
    return headers


Secret = Annotated[str, AfterValidator(_is_secret_reference)]


class Supports(Written):
    """What an upstream can do. batches: it has OpenAI's batch API, and lines that it alone would answer go there."""

    stream_options: bool = True
    batches: bool = False


class Limits(Written):
    """Deadlines of one attempt, in seconds.

    first_token: from the request fully sent to the first event of a stream, or to the whole of another reply;
    None is the same as first_byte. Keep it below a rule's deadline, or no fallback gets its turn.
    """

    connect: Seconds = 5
    first_byte: Seconds = 120
    first_token: Seconds | None = None
    between: Seconds = 60
    total: Seconds = 600


class UpstreamEntry(Written):
    """Where calls go. on_disconnect: what happens to the upstream call when the caller leaves.

    retry_budget: the share of its calls (0 to 1) that second tries may add; 0 allows none. admin_key: opens the
    provider's own count of usage and costs (`gateway usage reconcile`); calls never carry it.
    """

    base_url: Annotated[str, AfterValidator(_is_base_url)]
    api_key: Secret | None = None
    admin_key: Secret | None = None
    on_disconnect: Literal["cancel", "drain"] = "cancel"
    transport: Literal["http1", "httpx"] = "http1"
    provider: str | None = None
    headers: Annotated[dict[str, str], AfterValidator(_may_be_sent)] = {}
    supports: Supports = Supports()
    timeouts: Limits = Limits()
    attempts: Annotated[int, Field(ge=1, le=5)] = 2
    retry_budget: Annotated[float, Field(ge=0, le=1)] = 0.2
    ca_file: str | None = None


class ModelEntry(Written):
    """A model name that callers may use. id: the name the upstream knows, when it differs. teams: who may; all."""

    upstream: str
    id: str | None = None
    teams: list[str] = []


class VersionEntry(Written):
    """One tuned model: immutable once written."""

    id: str
    upstream: str
    base: str
    training_file: str | None = None
    shutdown_date: date | None = None


class SuccessorEntry(Written):
    """Where a line's calls go after its end."""

    path: Literal["fine_tuned", "rag", "direct"]
    model: str | None = None
    line: str | None = None
    collections: list[str] = []

    @model_validator(mode="after")
    def _complete(self) -> "SuccessorEntry":
        if self.path == "fine_tuned" and not self.line:
            raise ValueError("a fine_tuned successor names its line")
        if self.path != "fine_tuned" and not self.model:
            raise ValueError(f"a {self.path} successor names its model")
        if self.path == "rag" and not self.collections:
            raise ValueError("a rag successor names its collections")
        return self


class LineEntry(Written):
    """A stable public name over versions, counted from 1.

    canary: the share of the champion's calls (0 to 1) that the challenger answers. teams: who may call it; all.
    """

    versions: Annotated[list[VersionEntry], Field(min_length=1)]
    champion: Annotated[int, Field(ge=1)] = 1
    challenger: Annotated[int, Field(ge=1)] | None = None
    canary: Annotated[float, Field(ge=0, le=1)] = 0.0
    teams: list[str] = []
    successor: SuccessorEntry | None = None

    @model_validator(mode="after")
    def _known(self) -> "LineEntry":
        for alias in ("champion", "challenger"):
            version = getattr(self, alias)
            if version is not None and version > len(self.versions):
                raise ValueError(f"{alias} is {version}, but there are {len(self.versions)} versions")
        return self


class ModelsFile(Written):
    """The whole file. aliases: names that callers may send, each for a model, a line or `kb/<collection>`."""

    upstreams: Annotated[dict[Name, UpstreamEntry], Field(min_length=1)]
    models: dict[str, ModelEntry] = {}
    lines: dict[Name, LineEntry] = {}
    aliases: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$")], str] = {}
