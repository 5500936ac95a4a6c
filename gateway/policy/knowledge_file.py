"""policies/knowledge.yaml: collections, where their documents come from, and who may read them."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from gateway.core.document import Written
from gateway.policy.models_file import Name
from gateway.policy.sources_file import SourceEntry


class CollectionEntry(Written):
    """A set of documents. teams: who may read it; `*` is everyone, none is nobody.

    model: what answers a caller who asks for `kb/<name>`. embedder: a name from `embedders`. owner: the team that pays
    for embedding the documents; without one the operator does. record_gaps: whether the words of questions that it did
    not answer are kept.
    """

    title: str = ""
    sources: list[SourceEntry] = []
    teams: list[str] = []
    embedder: str | None = None
    model: str | None = None
    owner: Annotated[str, Field(min_length=1)] | None = None
    record_gaps: bool = True


class UpstreamEmbedderEntry(Written):
    """An embedding model at an upstream of models.yaml."""

    kind: Literal["openai"] = "openai"
    upstream: str
    model: str


class OnnxEmbedderEntry(Written):
    """A sentence model in a folder, run by the gateway itself. path: from the policies folder unless absolute.

    max_tokens: of a text, the rest is not read. threads: cores that one text may take.
    """

    kind: Literal["onnx"]
    path: Annotated[str, Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=8, le=2048)] = 256
    threads: Annotated[int, Field(ge=1, le=64)] = 1


def _kind(written: Any) -> Any:
    return written.get("kind", "openai") if isinstance(written, dict) else getattr(written, "kind", None)


EmbedderEntry = Annotated[
    Annotated[UpstreamEmbedderEntry, Tag("openai")] | Annotated[OnnxEmbedderEntry, Tag("onnx")],
    Discriminator(_kind, "kind", "an embedder is `{upstream, model}`, or `{kind: onnx, path}`; there is no other kind"),
]


class VectorStoresEntry(Written):
    """What holds for vector stores that callers make. embedder: a name from `embedders`; without one words alone."""

    embedder: str | None = None


class KnowledgeFile(Written):
    """The whole file. context_tokens: how much of a prompt the sources may take."""

    collections: dict[Name, CollectionEntry] = {}
    embedders: dict[Name, EmbedderEntry] = {}
    vector_stores: VectorStoresEntry = VectorStoresEntry()
    context_tokens: Annotated[int, Field(ge=100, le=100_000)] = 2000
