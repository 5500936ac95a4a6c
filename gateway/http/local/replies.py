"""Files and vector stores as OpenAI's objects."""

from typing import Any

from gateway.core.facts import Hit
from gateway.core.page import Page
from gateway.core.stored_file import StoredFile
from gateway.knowledge.chunks import BYTES_PER_TOKEN, CHUNK_BYTES, Chunking
from gateway.knowledge.vector_stores.values import Counts, FileBatch, StoreFile, VectorStore

Json = dict[str, Any]


def listed(page: Page[Any], items: list[Json]) -> Json:
    """A list's page; `has_more` is exact."""
    first, last = (items[0]["id"], items[-1]["id"]) if items else (None, None)
    return {"object": "list", "data": items, "first_id": first, "last_id": last, "has_more": page.has_more}


def deleted(identity: str, kind: str) -> Json:
    """What a deletion answers."""
    return {"id": identity, "object": kind, "deleted": True}


def file_object(file: StoredFile) -> Json:
    """A file. `status` is deprecated, and still what the SDK's `wait_for_processing` looks at."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size,
        "created_at": int(file.created_at),
        "expires_at": None if file.expires_at is None else int(file.expires_at),
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }


def store_object(store: VectorStore, now: float) -> Json:
    """A vector store."""
    ends = store.expires_at
    status = "in_progress" if store.counts.in_progress else "completed"
    return {
        "id": store.id,
        "object": "vector_store",
        "created_at": int(store.created_at),
        "name": store.name,
        "description": store.description or None,
        "usage_bytes": store.usage_bytes,
        "file_counts": _counts(store.counts),
        "status": "expired" if store.is_expired(now) else status,
        "expires_after": None
        if store.expires_days is None
        else {"anchor": "last_active_at", "days": store.expires_days},
        "expires_at": None if ends is None else int(ends),
        "last_active_at": int(store.last_active_at),
        "metadata": dict(store.metadata),
    }


def store_file_object(file: StoreFile) -> Json:
    """A file in a vector store. Our own way to cut is told as what it comes to."""
    chunking = file.chunking or Chunking(CHUNK_BYTES[1] // BYTES_PER_TOKEN, 0)
    static = {"max_chunk_size_tokens": chunking.size, "chunk_overlap_tokens": chunking.overlap}
    return {
        "id": file.file_id,
        "object": "vector_store.file",
        "created_at": int(file.created_at),
        "vector_store_id": file.vector_store_id,
        "status": file.status,
        "usage_bytes": file.usage_bytes,
        "last_error": None if file.error is None else {"code": file.error[0], "message": file.error[1]},
        "attributes": dict(file.attributes),
        "chunking_strategy": {"type": "static", "static": static},
    }


def batch_object(batch: FileBatch) -> Json:
    """A batch of files."""
    return {
        "id": batch.id,
        "object": "vector_store.files_batch",
        "created_at": int(batch.created_at),
        "vector_store_id": batch.vector_store_id,
        "status": batch.status,
        "file_counts": _counts(batch.counts),
    }


def results_page(queries: list[str], hits: list[Hit]) -> Json:
    """What a search found."""
    return {
        "object": "vector_store.search_results.page",
        "search_query": queries,
        "data": [
            {
                "file_id": hit.document,
                "filename": hit.filename or hit.title,
                "score": round(hit.score, 6),
                "attributes": dict(hit.attributes),
                "content": [{"type": "text", "text": hit.text}],
            }
            for hit in hits
        ],
        "has_more": False,
        "next_page": None,
    }


def _counts(counts: Counts) -> Json:
    return {
        "in_progress": counts.in_progress,
        "completed": counts.completed,
        "failed": counts.failed,
        "cancelled": counts.cancelled,
        "total": counts.total,
    }
