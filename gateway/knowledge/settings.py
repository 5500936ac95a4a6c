"""What `policies/knowledge.yaml` says, as values: collections, their sources, who reads them, embedders."""

import hashlib
from typing import Literal

import msgspec

from gateway.core.values import Value

EVERYONE = "*"
# What says how often and with which key a source is asked, and not what is taken from it.
_NOT_CONTENT = ("every_seconds", "requests_per_second", "token", "username", "credentials", "private_network")


class SourceSettings(Value, frozen=True):
    """One place that documents come from. Each connector that needs more has settings of its own below this.

    kind: the connector's file name. path: the place as its connector reads it: a folder, a file, a URL.
    include: glob patterns on ids, such as `policies/*.md`; empty takes every file of a usual kind.
    every_seconds: how often a remote source is asked; None for a folder or file, which is watched.
    """

    kind: str
    path: str
    include: tuple[str, ...] = ()
    every_seconds: float | None = None

    @property
    def key(self) -> str:
        """The source's name inside its collection; it changes when the place changes."""
        return f"{self.kind}:{self.path}"

    @property
    def place(self) -> str:
        """What the key says beside the kind: where the documents are, for a person."""
        return self.key.partition(":")[2]

    @property
    def fingerprint(self) -> str:
        """Changes with every setting that decides what is taken: 12 hex digits."""
        told = {key: value for key, value in msgspec.to_builtins(self).items() if key not in _NOT_CONTENT}
        return hashlib.sha256(msgspec.json.encode(told, order="deterministic")).hexdigest()[:12]


class RemoteSettings(SourceSettings, frozen=True, kw_only=True):
    """A place that is asked over HTTP; path: its URL, without a slash at the end.

    restricted: the teams that read what is restricted at the source; None leaves such documents out.
    private_network: whether the host's name may lead to an address that is not public.
    """

    every_seconds: float | None = 300.0
    requests_per_second: float = 10.0
    restricted: tuple[str, ...] | None = None
    private_network: bool = False


class EmbedderSettings(Value, frozen=True):
    """An OpenAI-compatible `/v1/embeddings`. base_url ends before `/embeddings`; api_key may be empty."""

    name: str
    base_url: str
    model: str
    api_key: str = ""


class OnnxSettings(Value, frozen=True):
    """A sentence model in a folder. max_tokens: of a text, the rest is not read. threads: of one run of the model."""

    name: str
    path: str
    max_tokens: int = 256
    threads: int = 1


class RerankerSettings(Value, frozen=True):
    """A `/rerank` at an upstream. base_url ends before `/rerank`; api_key may be empty."""

    name: str
    base_url: str
    model: str
    api_key: str = ""
    kind: Literal["cohere", "openai"] = "cohere"


class CollectionSettings(Value, frozen=True):
    """A named set of documents and the teams that may read it.

    teams: `*` stands for everyone; empty means nobody. embedder: the name of one, or None for words only.
    model: what answers `kb/<name>` when a rule names none. reranker: what puts its best passages in order.
    """

    name: str
    title: str = ""
    sources: tuple[SourceSettings, ...] = ()
    teams: tuple[str, ...] = ()
    embedder: str | None = None
    model: str | None = None
    reranker: RerankerSettings | None = None

    def readable_by(self, team: str) -> bool:
        """Whether this team may see that the collection exists."""
        return team in self.teams or EVERYONE in self.teams


class CollectionStatus(Value, frozen=True):
    """How many documents and chunks a collection holds, and the teams that may read it."""

    name: str
    title: str
    documents: int
    chunks: int
    teams: tuple[str, ...]
