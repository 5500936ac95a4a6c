"""When models are shut down: by what was written of them, by their upstream's own list, and by a dated list."""

import re
from collections.abc import Mapping
from datetime import date

from gateway.core.values import Value
from gateway.policy.models_file import VersionEntry
from gateway.policy.shutdowns_file import ShutdownEntry, ShutdownsFile

POLICY = "policy"
UPSTREAM = "upstream"
# `-2024-07-18`, or the older `-0125`.
_SNAPSHOT = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{4})\Z")
_AZURE = re.compile(r"(?P<base>[^/]+)\.ft-[0-9A-Za-z-]+\Z")
# Ids are named by callers where `*` is allowed.
MOST_HELD = 4096

# Of each upstream, what its list of models says: id -> day.
Said = Mapping[str, Mapping[str, date]]


class End(Value, frozen=True):
    """When a model is shut down, and who says so. said: every source with its day, the one of most authority first.

    The earliest day counts. deprecated: since when that is known to be its end; None when nobody says.
    """

    day: date
    source: str
    said: tuple[tuple[str, date], ...]
    deprecated: date | None = None

    @property
    def contradicts(self) -> bool:
        """Whether the sources do not agree."""
        return len({day for _, day in self.said}) > 1

    @property
    def written(self) -> date | None:
        """What policy or registry say: that ends the model here, whoever else may go on serving it."""
        return dict(self.said).get(POLICY)


class Ends:
    """Looks ends up. said: what upstreams tell in `/v1/models`; listed: the dated list."""

    def __init__(self, said: Said | None = None, listed: ShutdownsFile | None = None) -> None:
        self._said = said or {}
        self.listed = listed or ShutdownsFile()
        self._held: dict[tuple[str, str], End | None] = {}

    def of_version(self, version: VersionEntry) -> End | None:
        """When a line's version ends; None when nobody says."""
        return self.of(version.id, version.upstream, version.base, version.shutdown_date)

    def of(self, model: str, upstream: str = "", base: str = "", written: date | None = None) -> End | None:
        """When a model ends at an upstream. base: what it was tuned from. written: what the policy says."""
        names = names_of(model, base)
        found: list[tuple[str, date]] = [] if written is None else [(POLICY, written)]
        told = self._said.get(upstream, {})
        found += [(f"{UPSTREAM} {upstream}", told[name]) for name in names if name in told][:1]
        listed = self._of_list(model, names)
        if listed is not None:
            found.append((listed.source, listed.day))
        if not found:
            return None
        day = min(day for _, day in found)
        source = next(source for source, said in found if said == day)
        return End(day, source, tuple(found), None if listed is None else listed.deprecated)

    def held(self, model: str, upstream: str) -> End | None:
        """The same as `of`, remembered: for models that calls name."""
        key = (model, upstream)
        if key not in self._held:
            if len(self._held) >= MOST_HELD:
                self._held.clear()
            self._held[key] = self.of(model, upstream)
        return self._held[key]

    def _of_list(self, model: str, names: tuple[str, ...]) -> ShutdownEntry | None:
        listed = self.listed.models
        for name in names:
            entry = listed.get(name)
            if entry is not None and not (entry.tuned_only and name == model):
                return entry
        # An id that names its base without a date is of one of that base's snapshots: the earliest end counts.
        bases = {name for name in names if name != model and not name.startswith("ft:")}
        others = [entry for name, entry in listed.items() if _SNAPSHOT.sub("", name) in bases]
        return min(others, key=lambda entry: entry.day, default=None)


def names_of(model: str, base: str = "") -> tuple[str, ...]:
    """The names under which a model's end may stand, best first.

    `ft:gpt-4o-mini-2024-07-18:acme::Ab12:ckpt-step-90` is looked for whole, without its step, then as its base, with
    and without the date; so is Azure's `gpt-4o-mini-2024-07-18.ft-0e2`. An id that is not of a tuned model stands only
    for itself. base: looked for last.
    """
    names = [model, model.partition(":ckpt-")[0]]
    for one in (base_of(model), base):
        if one:
            names += [one, _SNAPSHOT.sub("", one)]
    return tuple(dict.fromkeys(names))


def base_of(model: str) -> str:
    """The base that a tuned model's id names, "" when it names none."""
    name = model.rpartition("/")[2]
    azure = _AZURE.match(name)
    if azure is not None:
        return azure["base"]
    if name.startswith("ft:"):
        return name.split(":")[1]
    base, mark, _ = name.partition(":ft-")
    return base if mark else ""
