"""policies/knowledge.yaml: collections, where their documents come from, and who may read them."""

from typing import Annotated, Literal

from pydantic import Field

from gateway.core.document import Written
from gateway.policy.models_file import Name


class SourceEntry(Written):
    """Where documents come from. path: relative to the policies folder unless absolute."""

    kind: Literal["folder", "jsonl"] = "folder"
    path: str
    include: list[str] = []


class CollectionEntry(Written):
    """A set of documents. teams: who may read it; `*` is everyone, none is nobody.

    model: what answers a caller who asks for `kb/<name>`. embedder: a name from `embedders`.
    """

    title: str = ""
    sources: list[SourceEntry] = []
    teams: list[str] = []
    embedder: str | None = None
    model: str | None = None


class EmbedderEntry(Written):
    """An embedding model at an upstream of models.yaml."""

    upstream: str
    model: str


class KnowledgeFile(Written):
    """The whole file. context_tokens: how much of a prompt the sources may take."""

    collections: dict[Name, CollectionEntry] = {}
    embedders: dict[Name, EmbedderEntry] = {}
    context_tokens: Annotated[int, Field(ge=100, le=100_000)] = 2000
