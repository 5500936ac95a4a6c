"""policies/knowledge.yaml: collections, where their documents come from, and who may read them."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from gateway.core.document import Written
from gateway.policy.models_file import Name
from gateway.policy.sources_file import SourceEntry


class CollectionEntry(Written):
    """A set of documents. teams: who may read it; `*` is everyone, none is nobody.

    model: what answers a caller who asks for `kb/<name>`. embedder: a name from `embedders`. reranker: one from
    `rerankers`. owner: the team that pays for embedding the documents; without one the operator does. record_gaps:
    whether the words of questions that it did not answer are kept.
    """

    title: str = ""
    sources: list[SourceEntry] = []
    teams: list[str] = []
    embedder: str | None = None
    reranker: str | None = None
    model: str | None = None
    owner: Annotated[str, Field(min_length=1)] | None = None
    record_gaps: bool = True


class RerankerEntry(Written):
    """A model at an upstream of models.yaml that puts passages in order. kind: whose `/rerank` it speaks."""

    upstream: str
    model: str
    kind: Literal["cohere", "openai"] = "cohere"


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
    """What holds for vector stores that callers make over the API.

    embedder: a name from `embedders`; without one words alone. model: what answers a caller who asks for `kb/<id>`.
    """

    embedder: str | None = None
    model: str | None = None


class KnowledgeFile(Written):
    """The whole file. context_tokens: how much of a prompt the sources may take."""

    collections: dict[Name, CollectionEntry] = {}
    embedders: dict[Name, EmbedderEntry] = {}
    rerankers: dict[Name, RerankerEntry] = {}
    vector_stores: VectorStoresEntry = VectorStoresEntry()
    context_tokens: Annotated[int, Field(ge=100, le=100_000)] = 2000

    def billed(self, used: str, *, is_reranker: bool = False) -> tuple[str, str, bool]:
        """Where the use of an embedder or reranker is billed: upstream, model, and whether nobody bills it.

        used: its name here, with more after a colon. An entry that is gone may have been any: no upstream, not free.
        """
        name = used.partition(":")[0]
        entry = self.rerankers.get(name) if is_reranker else self.embedders.get(name)
        if isinstance(entry, UpstreamEmbedderEntry | RerankerEntry):
            return entry.upstream, entry.model, False
        return "", used, entry is not None
