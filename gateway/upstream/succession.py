"""Models that their provider does not have any more: how it says so, and for how long that is remembered."""

import logging
from collections.abc import Callable
from typing import Any

import msgspec

from gateway.core.decision import Arm

# So that not each call asks the dead model first; a deployment that is back is found again by then.
REMEMBERED_SECONDS = 300.0
# Models are named by callers where `*` is allowed.
MOST_REMEMBERED = 1024
# OpenAI and those that speak like it, and Azure for a deployment that is not there.
CODES = frozenset({"model_not_found", "DeploymentNotFound", "deployment_not_found"})
STATUSES = frozenset({400, 404, 410})

log = logging.getLogger("gateway.upstream")
_decode = msgspec.json.Decoder().decode


class Gone:
    """The tuned models that are gone as far as this process was told."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._until: dict[tuple[str, str], float] = {}

    def knows(self, arm: Arm) -> bool:
        """Whether its model was said to be gone in the last minutes."""
        return self._until.get((arm.upstream, arm.model), 0.0) > self._monotonic()

    def told(self, arm: Arm, status: int, body: bytes) -> bool:
        """Whether a reply says that the model is gone; if so, it is remembered and logged."""
        if not says_gone(status, body):
            return False
        if not self.knows(arm):
            if len(self._until) >= MOST_REMEMBERED:
                self._until.clear()
            self._until[arm.upstream, arm.model] = self._monotonic() + REMEMBERED_SECONDS
            successor = None if arm.successor is None else f"{arm.successor.path}:{arm.successor.model}"
            fields = {"upstream": arm.upstream, "model": arm.model, "line": arm.line, "successor": successor}
            log.error("model_gone", extra={"fields": fields})
        return True


def says_gone(status: int, body: bytes) -> bool:
    """Whether an error reply means that its provider has no such model, or has it no more."""
    if status not in STATUSES:
        return False
    try:
        found: Any = _decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False
    error = found.get("error", found) if isinstance(found, dict) else None
    return isinstance(error, dict) and error.get("code") in CODES
