"""What a caller uploaded, as it is told of: the bytes stay where they are kept."""

from gateway.core.values import Value


class StoredFile(Value, frozen=True):
    """A file of a team. Times are Unix seconds; expires_at: None keeps it until it is deleted."""

    id: str
    team: str
    filename: str
    purpose: str
    size: int
    created_at: float
    expires_at: float | None = None
