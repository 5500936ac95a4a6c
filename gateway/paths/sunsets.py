"""What replies say of a model that will be shut down: `Sunset` (RFC 8594) and `Deprecation` (RFC 9745)."""

from datetime import UTC, date, datetime, time
from email.utils import format_datetime

from gateway.core.call import Headers
from gateway.core.decision import Arm
from gateway.policy.catalogue import Catalogue
from gateway.policy.ends import End, Ends

# Further off it is no news to a caller.
WITHIN_DAYS = 90
# Models are named by callers where `*` is allowed.
MOST_HELD = 4096


class Sunsets:
    """The headers for each model on each day. held: those that were worked out, by upstream, model and day."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str, date], Headers] = {}
        self._ends = Ends()
        self._tuned: dict[tuple[str, str], End | None] = {}

    def replace(self, catalogue: Catalogue) -> None:
        """Takes over what is known of ends now."""
        self._ends = catalogue.ends
        self._tuned = {
            (version.upstream, version.id): catalogue.ends.of_version(version)
            for line in catalogue.models.lines.values()
            for version in line.versions
        }
        self.held = {}

    def told(self, arm: Arm, today: date) -> Headers:
        """The headers of a reply that this arm's model gives today; none when its end is unknown or far."""
        if len(self.held) >= MOST_HELD:
            self.held.clear()
        key = (arm.upstream, arm.model)
        end = self._tuned[key] if key in self._tuned else self._ends.held(arm.model, arm.upstream)
        self.held[*key, today] = headers = () if end is None else headers_of(end, today)
        return headers


def headers_of(end: End, today: date) -> Headers:
    """The headers for a model with this end. `Deprecation` only where the day of the announcement is known."""
    if (end.day - today).days > WITHIN_DAYS:
        return ()
    headers = [(b"sunset", format_datetime(_midnight(end.day), usegmt=True).encode())]
    if end.deprecated is not None and end.deprecated <= today:
        headers.append((b"deprecation", b"@%d" % _midnight(end.deprecated).timestamp()))
    return tuple(headers)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
