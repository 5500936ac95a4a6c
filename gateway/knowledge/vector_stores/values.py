"""Vector stores and their files as values."""

from typing import Literal

from gateway.core.facts import Attributes
from gateway.core.values import Value
from gateway.knowledge.chunks import Chunking

Status = Literal["in_progress", "completed", "cancelled", "failed"]
DAY_SECONDS = 86_400.0
# The source under which a collection keeps what was put into it over the API.
FILES = "files"


class Counts(Value, frozen=True):
    """Files by status."""

    in_progress: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.in_progress + self.completed + self.failed + self.cancelled


class VectorStore(Value, frozen=True):
    """A collection as the API tells of it. team: whose it is; '' for one of knowledge.yaml. Times are Unix seconds."""

    id: str
    team: str
    name: str
    description: str
    metadata: tuple[tuple[str, str], ...]
    expires_days: int | None
    last_active_at: float
    created_at: float
    counts: Counts = Counts()
    usage_bytes: int = 0

    @property
    def expires_at(self) -> float | None:
        """When it expires if nobody uses it till then; None when never."""
        return None if self.expires_days is None else self.last_active_at + self.expires_days * DAY_SECONDS

    def is_expired(self, now: float) -> bool:
        """Whether nobody used it for too long: it holds nothing any more."""
        ends = self.expires_at
        return ends is not None and ends <= now


class StoreFile(Value, frozen=True):
    """A file in a vector store. error: its code and message, of a failed one. chunking: None for our own."""

    vector_store_id: str
    file_id: str
    created_at: float
    status: Status
    usage_bytes: int
    error: tuple[str, str] | None
    attributes: Attributes
    chunking: Chunking | None
    batch_id: str | None
    made: str
    tries: int = 0


class FileToPut(Value, frozen=True):
    """A file that is to go into a vector store."""

    file_id: str
    attributes: Attributes = ()
    chunking: Chunking | None = None


class FileBatch(Value, frozen=True):
    """Files put in together, by what became of them."""

    id: str
    vector_store_id: str
    created_at: float
    is_cancelled: bool
    counts: Counts

    @property
    def status(self) -> Status:
        """in_progress while one file is; failed when every one has; cancelled when somebody said so."""
        if self.is_cancelled:
            return "cancelled"
        if self.counts.in_progress:
            return "in_progress"
        return "failed" if self.counts.total and self.counts.failed == self.counts.total else "completed"
