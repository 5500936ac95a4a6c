"""What this process sees of calls that are a part of a line's canary: counts, and never a word."""

from collections.abc import Callable

import msgspec

from gateway.core.call import Call
from gateway.core.decision import Arm, Trial
from gateway.core.event import UsageEvent
from gateway.tuning.lines.values import Seen, TrialKey
from gateway.upstream.prepared import Prepared

# The provider's word about the pace of an account says nothing of a model.
PACE = 429
FAILED = frozenset({"upstream_error", "timeout"})
_decode = msgspec.json.Decoder().decode


class Tally:
    """Counts. watching: by call id, who is told of each of the call's events; shared with whoever closes events."""

    def __init__(self, watching: dict[str, Callable[[UsageEvent], None]]) -> None:
        self.slow_seconds: dict[TrialKey, float] = {}
        self._watching = watching
        self._seen: dict[tuple[TrialKey, int], Seen] = {}

    def followed(self, call: Call, trial: Trial, arm: Arm, prepared: Prepared) -> Prepared:
        """The request with its reply looked at, if it goes to the version that the call drew.

        A champion that answers because the challenger failed is not counted: it had another's calls.
        """
        number = trial.challenger if trial.is_drawn else trial.champion
        identity, model = call.inbound.call_id, arm.model
        if arm.line != trial.line or arm.version != number or not identity:
            return prepared
        of = (TrialKey(trial.line, trial.champion, trial.challenger), number)

        def closed(event: UsageEvent) -> None:
            if event.last:
                self._watching.pop(identity, None)
            if event.attempt and event.model == model:
                self._count(of, event)

        self._watching[identity] = closed
        # What a tool is called with has a form of its own, and several answers are no document.
        if call.has_tools or call.choices > 1:
            return prepared
        return msgspec.structs.replace(prepared, heard=lambda text: self._hear(of, text, is_asked=call.wants_json))

    def take(self) -> dict[tuple[TrialKey, int], Seen]:
        """What was counted since it was last taken."""
        taken, self._seen = self._seen, {}
        return taken

    def give_back(self, taken: dict[tuple[TrialKey, int], Seen]) -> None:
        """Counts what could not be kept again."""
        for of, seen in taken.items():
            self._add(of, seen)

    def _count(self, of: tuple[TrialKey, int], event: UsageEvent) -> None:
        if event.outcome == "ok":
            bound = self.slow_seconds.get(of[0])
            self._add(of, Seen(calls=1, slow=int(bound is not None and event.upstream_seconds > bound)))
        elif event.outcome in FAILED and event.status != PACE:
            self._add(of, Seen(calls=1, errors=1))

    def _hear(self, of: tuple[TrialKey, int], text: str, *, is_asked: bool) -> None:
        good = is_document(text)
        if is_asked:
            self._add(of, Seen(formed=1, malformed=int(not good)))
        else:
            self._add(of, Seen(plain=1, plain_json=int(good)))

    def _add(self, of: tuple[TrialKey, int], seen: Seen) -> None:
        before = self._seen.get(of)
        self._seen[of] = seen if before is None else before.plus(seen)


def is_document(text: str) -> bool:
    """Whether an answer is a JSON object or array as a whole."""
    text = text.strip()
    if not text.startswith(("{", "[")):
        return False
    try:
        _decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return False
    return True
