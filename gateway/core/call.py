"""A call: what came in, who sent it, and what a policy may look at."""

from typing import Literal

from gateway.core.values import Value

Headers = tuple[tuple[bytes, bytes], ...]
Endpoint = Literal["chat", "responses", "completions", "embeddings", "passthrough"]


class Inbound(Value, frozen=True):
    """One HTTP request, read whole. Header names are lower case. `query` has no leading `?`.

    path is decoded and decides; raw_path is what came on the wire, and what goes on. request_id may be the caller's
    own; call_id is ours, and unique.
    """

    method: str
    path: str
    raw_path: bytes
    query: bytes
    headers: Headers
    body: bytes
    request_id: str
    received_monotonic: float
    call_id: str = ""

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header (name in lower case), or None."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


class Principal(Value, frozen=True):
    """Who is calling: a team by one of its keys. Made only by `identity`.

    organisation: the team's, "" for none. allowed_models: names, or their beginnings with `*` after them;
    allowed_paths: of the gateway; empty is all. metadata: the key's own, a part of every call's. is_exact: its calls
    are answered by the very model that they name, whatever rules say; no key has that, an evaluation of a line does.
    """

    team: str
    key_id: str
    key_name: str
    debug: bool = False
    organisation: str = ""
    allowed_models: tuple[str, ...] = ()
    allowed_paths: tuple[str, ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
    is_exact: bool = False


class Turn(Value, frozen=True):
    """One message: its role and its content as text (parts joined by newlines; no text gives '')."""

    role: str
    text: str


class FileSearch(Value, frozen=True):
    """What a call asks to have searched with the tool `file_search`.

    stores: ids of vector stores. filters: JSON as it was written, b"" for none. limit: at most so many chunks.
    threshold: the least score. weights: of vectors and words; None leaves that to us. wants_results: whether the
    reply is to list what was found.
    """

    stores: tuple[str, ...]
    filters: bytes = b""
    limit: int = 20
    threshold: float = 0.0
    weights: tuple[float, float] | None = None
    wants_results: bool = False


class Call(Value, frozen=True):
    """What was asked, read from the body once. The body's bytes stay in `inbound`.

    text: the last user turn (or the prompt). output_limit: the caller's own cap on output tokens.
    prompt_bytes: size of what the model will read, an upper bound of its tokens.
    rag_ready: the endpoint can take sources and no tool call is waiting for its result.
    response_format: `text`, `json_object`, `json_schema` or `other`. temperature: the caller's own.
    user, conversation: what the caller says of them, "" when nothing. service_tier: what is asked for, '' for the
    standard one. file_search: None without such a tool. names_files: whether a message may name a file by its id.
    """

    inbound: Inbound
    endpoint: Endpoint
    model: str
    stream: bool = False
    include_usage: bool = False
    turns: tuple[Turn, ...] = ()
    text: str = ""
    has_tools: bool = False
    has_image: bool = False
    response_format: str = "text"
    rag_ready: bool = False
    choices: int = 1
    output_limit: int | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    prompt_bytes: int = 0
    asked_path: str | None = None
    temperature: float | None = None
    user: str = ""
    conversation: str = ""
    service_tier: str = ""
    file_search: FileSearch | None = None
    names_files: bool = False

    @property
    def may_cost(self) -> bool:
        """Whether a provider may bill this call. Of endpoints that are passed on, those that name a model.

        A job is billed when it ends, and booked then.
        """
        if self.endpoint != "passthrough":
            return True
        is_job = self.inbound.path.startswith(("/v1/fine_tuning/jobs", "/v1/batches"))
        return self.inbound.method == "POST" and bool(self.model) and not is_job

    @property
    def wants_json(self) -> bool:
        """Whether the answer is to be JSON: nothing may be put into it then."""
        return self.response_format in {"json_object", "json_schema"}

    @property
    def prompt_tokens_estimate(self) -> int:
        """About how many tokens the prompt has: 4 bytes a token, the usual figure for English."""
        return (self.prompt_bytes + 3) // 4
