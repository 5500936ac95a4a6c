"""What `policies/knowledge.yaml` says, as values: collections, their sources, who reads them, embedders."""

from typing import Literal

from gateway.core.values import Value

EVERYONE = "*"

SourceKind = Literal["folder", "jsonl"]


class SourceSettings(Value, frozen=True):
    """One place that documents come from.

    path: a folder (searched through) or one JSONL file. include: glob patterns on the path below the
    folder, such as `policies/*.md`; empty takes every file of a known kind.
    """

    kind: SourceKind
    path: str
    include: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The source's name inside its collection; it changes when the place changes."""
        return f"{self.kind}:{self.path}"


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


class CollectionSettings(Value, frozen=True):
    """A named set of documents and the teams that may read it.

    teams: `*` stands for everyone; empty means nobody. embedder: the name of one, or None for words only.
    model: what answers `kb/<name>` when a rule names none.
    """

    name: str
    title: str = ""
    sources: tuple[SourceSettings, ...] = ()
    teams: tuple[str, ...] = ()
    embedder: str | None = None
    model: str | None = None

    def readable_by(self, team: str) -> bool:
        """Whether this team may see that the collection exists."""
        return team in self.teams or EVERYONE in self.teams
