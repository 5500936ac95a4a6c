"""One class per reason. Each carries what a caller needs in OpenAI's shape and a metric label.

Rule: infrastructure trouble is never 401, 403 or 429 (those send people looking at their own keys).
"""


class GatewayError(Exception):
    """A refusal or failure that a caller sees.

    status: the HTTP status. kind: OpenAI's `type`. code: OpenAI's `code`, also the metric label
    `error_type`; the set of codes is closed by the classes below. retry_after_seconds: sent as a header.
    decision_id: of the decision that led here, when there was one; sent as a header too.
    """

    status = 500
    kind = "server_error"
    code = "internal_error"
    should_retry: bool | None = None
    decision_id: str | None = None

    def __init__(self, message: str, *, param: str | None = None, retry_after_seconds: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_seconds = retry_after_seconds


class InvalidRequest(GatewayError):
    status, kind, code = 400, "invalid_request_error", "invalid_request"


class MissingKey(GatewayError):
    status, kind, code = 401, "invalid_request_error", "missing_api_key"


class UnknownKey(GatewayError):
    status, kind, code = 401, "invalid_request_error", "invalid_api_key"


class SignInRefused(GatewayError):
    status, kind, code = 401, "invalid_request_error", "sign_in_refused"


class NotPermitted(GatewayError):
    status, kind, code = 403, "permission_error", "not_permitted"


class PolicyRefused(GatewayError):
    status, kind, code = 403, "permission_error", "policy_refused"


class RouteNotFound(GatewayError):
    status, kind, code = 404, "invalid_request_error", "unknown_url"


class ModelNotFound(GatewayError):
    status, kind, code = 404, "invalid_request_error", "model_not_found"


class NotFound(GatewayError):
    status, kind, code = 404, "invalid_request_error", "not_found"


class MethodNotAllowed(GatewayError):
    status, kind, code = 405, "invalid_request_error", "method_not_supported"


class Conflict(GatewayError):
    status, kind, code = 409, "invalid_request_error", "conflict"


class NotSupported(GatewayError):
    """What was asked for exists elsewhere, and not with what serves it here."""

    status, kind, code = 400, "invalid_request_error", "not_supported"


class UnreadableDocument(GatewayError):
    """A file whose kind is known and whose bytes are not of it, or ask for more room or time than is given."""

    status, kind, code = 400, "invalid_request_error", "invalid_file"


class UnsupportedDocument(UnreadableDocument):
    """A file of a kind that nobody here reads."""

    status, kind, code = 400, "invalid_request_error", "unsupported_file"


class BodyTooLarge(GatewayError):
    status, kind, code = 413, "invalid_request_error", "request_too_large"


class BudgetExceeded(GatewayError):
    """The official SDK retries a 429 unless told not to; a spent budget does not refill in seconds."""

    status, kind, code = 429, "insufficient_quota", "insufficient_quota"
    should_retry = False


class RateLimited(GatewayError):
    """Faster than a limit of the organisation, team or key. headers: what is left, as OpenAI tells it."""

    status, kind, code = 429, "rate_limit_error", "rate_limit_exceeded"

    def __init__(
        self, message: str, headers: tuple[tuple[bytes, bytes], ...] = (), *, retry_after_seconds: int
    ) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)
        self.headers = headers


class Unpriced(GatewayError):
    """A model without a price, asked for under a hard budget: what it would cost cannot be kept within it."""

    status, kind, code = 403, "permission_error", "model_unpriced"


class BudgetUnverifiable(GatewayError):
    """The database that shares a hard budget out is away, and what this process had of it is used up."""

    status, kind, code = 503, "server_error", "budget_unverifiable"


class UpstreamFailed(GatewayError):
    status, kind, code = 502, "upstream_error", "upstream_failed"


class UpstreamTimeout(GatewayError):
    status, kind, code = 504, "upstream_error", "upstream_timeout"


class KnowledgeUnavailable(GatewayError):
    status, kind, code = 503, "server_error", "knowledge_unavailable"


class AccountingUnavailable(GatewayError):
    status, kind, code = 503, "server_error", "accounting_unavailable"


class Draining(GatewayError):
    """Nobody reads this one either: it names the outcome of a call that the end of a drain cut off."""

    status, kind, code = 503, "server_error", "draining"


class NotReady(GatewayError):
    status, kind, code = 503, "server_error", "not_ready"


class CallerLeft(GatewayError):
    """Nobody reads this one: it names the outcome in the ledger and the metrics."""

    status, kind, code = 499, "client_error", "caller_left"


class BadConfiguration(Exception):
    """A file or setting that cannot be used. Each line says where and what would be right; exit 78."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class DatabaseAway(BadConfiguration):
    """The database cannot be used: a setting to mend, or a server that is away."""
