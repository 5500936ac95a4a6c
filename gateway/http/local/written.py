"""Bodies of requests about vector stores."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gateway.core.errors import InvalidRequest
from gateway.http.local.reading import attributes_of
from gateway.knowledge.chunks import Chunking
from gateway.knowledge.vector_stores.values import FileToPut

MOST_NAME_CHARACTERS = 256
MOST_BATCH = 2_000
MOST_AT_CREATION = 500

Name = Annotated[str, Meta(max_length=MOST_NAME_CHARACTERS)]


class ExpiresAfter(msgspec.Struct):
    """When a store ends: so many days after its last use."""

    anchor: Literal["last_active_at"]
    days: Annotated[int, Meta(ge=1, le=365)]


class _StaticChunking(msgspec.Struct):
    """How a document is cut, in tokens."""

    max_chunk_size_tokens: Annotated[int, Meta(ge=100, le=4096)] = 800
    chunk_overlap_tokens: Annotated[int, Meta(ge=0)] = 400


class ChunkingStrategy(msgspec.Struct):
    """`auto` is our own way to cut."""

    type: Literal["auto", "static"]
    static: _StaticChunking | None = None


class NewStore(msgspec.Struct):
    """Of POST /v1/vector_stores."""

    name: Name | None = None
    description: Annotated[str, Meta(max_length=512)] | None = None
    file_ids: list[str] | None = None
    expires_after: ExpiresAfter | None = None
    chunking_strategy: ChunkingStrategy | None = None
    metadata: dict[str, Any] | None = None


class ChangedStore(msgspec.Struct):
    """What changes of a vector store; what is left out stays, and null takes it away."""

    name: Name | UnsetType | None = UNSET
    expires_after: ExpiresAfter | UnsetType | None = UNSET
    metadata: dict[str, Any] | UnsetType | None = UNSET


class NewFile(msgspec.Struct):
    """A file to put into a vector store."""

    file_id: Annotated[str, Meta(min_length=1, max_length=200)]
    attributes: dict[str, Any] | None = None
    chunking_strategy: ChunkingStrategy | None = None


class NewBatch(msgspec.Struct):
    """Several: by `file_ids`, which share what else is said, or by `files`, each with its own."""

    file_ids: list[str] | None = None
    files: list[NewFile] | None = None
    attributes: dict[str, Any] | None = None
    chunking_strategy: ChunkingStrategy | None = None


class ChangedFile(msgspec.Struct):
    """New attributes of a file in a vector store."""

    attributes: dict[str, Any] | None


def chunking_of(written: ChunkingStrategy | None) -> Chunking | None:
    """How to cut; None for our own way. Raises InvalidRequest (400) for an overlap of more than half."""
    if written is None or written.type == "auto":
        return None
    static = written.static
    if static is None:
        raise InvalidRequest("chunking_strategy.static is missing.", param="chunking_strategy.static")
    if static.chunk_overlap_tokens * 2 > static.max_chunk_size_tokens:
        raise InvalidRequest(
            "chunk_overlap_tokens must not be more than half of max_chunk_size_tokens.",
            param="chunking_strategy.static.chunk_overlap_tokens",
        )
    return Chunking(static.max_chunk_size_tokens, static.chunk_overlap_tokens)


def batch_of(body: NewBatch) -> list[FileToPut]:
    """The files of a batch, each once. Raises InvalidRequest (400) for none, too many, and both ways."""
    if (body.file_ids is None) == (body.files is None):
        raise InvalidRequest("Send either file_ids or files.", param="file_ids")
    if body.files is not None:
        found = [file_of(one) for one in body.files]
    else:
        attributes, chunking = attributes_of(body.attributes), chunking_of(body.chunking_strategy)
        found = [FileToPut(one, attributes, chunking) for one in body.file_ids or ()]
    return bounded(found, MOST_BATCH)


def file_of(body: NewFile) -> FileToPut:
    """A file to put in. Raises InvalidRequest (400)."""
    return FileToPut(body.file_id, attributes_of(body.attributes), chunking_of(body.chunking_strategy))


def bounded(files: list[FileToPut], most: int) -> list[FileToPut]:
    """Each file once, the last of those that are named twice. Raises InvalidRequest (400) for none and too many."""
    once = {one.file_id: one for one in files}
    if not 1 <= len(once) <= most:
        raise InvalidRequest(f"{len(once)} files; send 1 to {most} at once.", param="file_ids")
    return list(once.values())
