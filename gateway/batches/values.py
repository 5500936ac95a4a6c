"""Batches as values, and what running one needs of the gateway around it."""

from collections.abc import AsyncIterator, Sequence
from typing import Literal, Protocol, get_args

from gateway.core.answered import Ask
from gateway.core.call import Principal
from gateway.core.errors import GatewayError
from gateway.core.stored_file import StoredFile
from gateway.core.values import Value
from gateway.upstream.upstreams import Upstream

Status = Literal["validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"]
Ending = Literal["completed", "expired", "cancelled", "failed"]
STATUSES: dict[str, Status] = {status: status for status in get_args(Status)}
ENDINGS: dict[str, Ending] = {ending: ending for ending in get_args(Ending)}
# How ids of batches begin that are kept here: a provider's look otherwise.
OUR_IDS = "batch_sw"
WINDOW, WINDOW_SECONDS = "24h", 86_400.0
ENDPOINTS = ("/v1/responses", "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/moderations")


class Fault(Value, frozen=True):
    """Why a batch failed, as OpenAI tells it. line: of the input file, from 1; None when it is about the whole."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


class Batch(Value, frozen=True):
    """A batch of a team. Times are Unix seconds.

    principal: JSON of whose calls its lines are; no key is in it. metadata: JSON as it was sent. output_id, error_id:
    the files' ids, settled when the batch is made; has_output, has_errors: they are there. output_seconds: how long
    they live; None is for ever. errors: JSON of faults. usage: JSON of tokens, "" when nobody knows. upstream: who
    runs it, "" when it runs here; upstream_id: its id there. ending: what it becomes when its files are written.
    """

    id: str
    team: str
    principal: str
    endpoint: str
    input_file_id: str
    status: Status
    metadata: str
    created_at: float
    expires_at: float
    output_id: str
    error_id: str
    output_seconds: int | None = None
    has_output: bool = False
    has_errors: bool = False
    total: int = 0
    completed: int = 0
    failed: int = 0
    model: str = ""
    errors: str = "[]"
    usage: str = ""
    upstream: str = ""
    upstream_id: str = ""
    ending: str = ""
    in_progress_at: float | None = None
    finalizing_at: float | None = None
    completed_at: float | None = None
    failed_at: float | None = None
    expired_at: float | None = None
    cancelling_at: float | None = None
    cancelled_at: float | None = None

    @property
    def has_ended(self) -> bool:
        """Nothing more becomes of it."""
        return self.status in ENDINGS


NO_KEY = Fault("invalid_api_key", "The API key that made this batch was revoked or has expired.")


class Counts(Value, frozen=True):
    """How many lines were answered, and how many could not be."""

    completed: int = 0
    failed: int = 0


class Way(Value, frozen=True):
    """An upstream that may answer a line at its batch rates. most_nano_usd: what that costs at most; None: no price."""

    upstream: str
    most_nano_usd: int | None


class BatchRefused(GatewayError):
    """The provider will not take the file or the batch. Its text says why."""

    status, kind, code = 400, "invalid_request_error", "batch_refused"


class Files(Protocol):
    """Where input comes from and output goes."""

    async def find(self, identity: str) -> StoredFile | None:
        """A file, or None."""
        ...

    async def of_others(self, upstream_ids: Sequence[str], team: str) -> list[str]:
        """Those of some files of upstreams that are known here, and not as this team's."""
        ...

    def parts(self, identity: str) -> AsyncIterator[bytes]:
        """A file's bytes in order; they may end early when it is deleted meanwhile."""
        ...

    async def write(self, file: StoredFile, chunks: AsyncIterator[bytes]) -> StoredFile:
        """Stores a file under its id, in place of what a dead process left of it."""
        ...


class Around(Protocol):
    """What running batches needs of the gateway."""

    @property
    def files(self) -> Files:
        """Where files are kept."""
        ...

    def asking(self, principal: Principal) -> Ask:
        """How lines are asked for a principal."""
        ...

    def is_good(self, batch: Batch) -> bool:
        """Whether the key that made the batch is still one."""
        ...

    def way(self, principal: Principal, path: str, body: bytes) -> Way | None:
        """The upstream that may answer this line at its batch rates; None when the line is to be asked here."""
        ...

    def fits(self, batch: Batch, most_nano_usd: int | None) -> bool:
        """Whether every hard budget that the batch is charged to has room for this much, or there is none."""
        ...

    def upstream(self, name: str) -> Upstream:
        """The upstream of that name. Raises UpstreamFailed (502) when the policy has it no more."""
        ...

    async def copied(self, upstream: str, file: StoredFile) -> str:
        """The file's id at the upstream. Raises BatchRefused, and UpstreamFailed (502) when it cannot be asked."""
        ...

    async def same_there(self, batch: Batch, file_id: str, upstream_id: str) -> None:
        """Notes that a file of the batch is its upstream's: no other team gets at it there, no list has it twice."""
        ...

    async def book_later(self, batch: Batch, upstream_id: str) -> None:
        """Has a batch at an upstream booked when it ends, once."""
        ...
