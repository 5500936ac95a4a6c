"""Lines as people change them: taken over from models.yaml, given versions, promoted, rolled back, put on trial."""

import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

import msgspec

from gateway.core.clock import Clock, utc_day
from gateway.core.errors import Conflict, InvalidRequest, NotFound
from gateway.core.values import Value
from gateway.policy.catalogue import AUTO
from gateway.policy.decide import Policy
from gateway.policy.ends import End
from gateway.policy.load import Rulebook
from gateway.policy.models_file import LineEntry, SuccessorEntry, VersionEntry
from gateway.policy.registry_file import is_taken
from gateway.tuning.comparison import Comparison, DifferentSets, compare
from gateway.tuning.jobs.store import TuningJobs
from gateway.tuning.lines.store import Inside, Lines
from gateway.tuning.lines.values import Line, Scored, Version

# How much worse than the champion, in units of a score from 0 to 1, still passes the gate.
MARGIN = 0.02
# A wider margin lets nearly anything pass, so it is an override of the gate like any other.
WIDEST_MARGIN = 0.05
POLICY = "policy"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class ShownVersion(Value, frozen=True):
    """A version with how it did: mean by frozen set, newest first."""

    version: Version
    aliases: tuple[str, ...]
    scores: tuple[tuple[str, float], ...]


class ShownLine(Value, frozen=True):
    """A line with its versions. kept_in: `registry` or `policy`."""

    line: Line
    versions: tuple[ShownVersion, ...]
    kept_in: str


class Gate(Value, frozen=True):
    """What a promotion was decided on. passed: None when there was nothing to compare with."""

    passed: bool | None
    reason: str
    set_hash: str = ""
    comparison: Comparison | None = None


class Promotion(Value, frozen=True):
    """A promotion that was made. was_forced: against or without the gate."""

    line: Line
    gate: Gate
    was_forced: bool


class NewVersion(Value, frozen=True):
    """A version to be added. job: of a job here, from which everything is taken; else model, upstream and base."""

    job: str = ""
    model: str = ""
    upstream: str = ""
    base: str = ""
    training_file: str = ""
    shutdown_date: str | None = None
    notes: str = ""


class Registry:
    """Changes lines. actor: who does it, for the audit. Raises NotFound (404), Conflict (409), InvalidRequest (400)."""

    def __init__(self, lines: Lines, jobs: TuningJobs, rulebook: Callable[[], Rulebook], clock: Clock) -> None:
        self.lines = lines
        self._jobs = jobs
        self._rulebook = rulebook
        self._clock = clock

    async def all(self) -> list[ShownLine]:
        """Every line, by name: those kept here and those of models.yaml."""
        kept = {line.name: (line, versions) for line, versions in await self.lines.all()}
        written = self._rulebook().models.lines
        found = []
        for name in sorted({*kept, *written}):
            line, versions = kept.get(name) or self._of_policy(name, written[name])
            found.append(await self._shown(line, versions, "registry" if name in kept else POLICY))
        return found

    async def one(self, name: str) -> ShownLine:
        """One line, wherever it is kept. Raises NotFound (404)."""
        line, versions, kept_in = await self._read(name)
        return await self._shown(line, versions, kept_in)

    async def create(self, name: str, owner: str, new: NewVersion, actor: str, teams: tuple[str, ...] = ()) -> Line:
        """A line with its first version, which is its champion. teams: who may call it beside its owner."""
        models = self._rulebook().models
        if not _NAME.fullmatch(name) or name == AUTO or is_taken(name, models):
            told = (
                "a model, an alias or `auto`" if _NAME.fullmatch(name) else "no name for a line: letters, digits, . _ -"
            )
            raise InvalidRequest(f"{name!r} is {told}.", param="name")
        if name in models.lines:
            raise Conflict(f"There is a line {name!r} already.")
        version = await self._version(name, new, owner, actor)
        line = Line(
            name=name,
            owner=owner,
            champion=1,
            challenger=None,
            previous=None,
            canary=0.0,
            teams=msgspec.json.encode(sorted({owner, *teams}) if owner else []).decode(),
            successor=None,
            revision=1,
            created_at=self._clock.wall(),
        )
        return await self.lines.create(line, [version], actor)

    async def remove(self, name: str, actor: str) -> Line:
        """Takes a line out of the registry; what was changed of it stays in the audit log.

        One that models.yaml has too is then as that file has it. Raises Conflict (409) for one that a rule names.
        """
        line, _ = await self.lines.find(name)
        if name not in self._rulebook().written_lines and _is_named(self._rulebook().policy, name):
            raise Conflict(f"Rules name the line {name!r}; take it out of routing.yaml first.")
        await self.lines.remove(line, actor)
        return line

    async def add(self, name: str, new: NewVersion, actor: str) -> Version:
        """Adds a version. A line of models.yaml is taken over into the registry first."""
        line, versions = await self._taken_over(name, actor)
        version = await self._version(name, new, line.owner, actor)
        champion = next(one for one in versions if one.number == line.champion)
        return await self.lines.add_version(name, msgspec.structs.replace(version, parent=champion.number), actor)

    async def promote(
        self, name: str, number: int, actor: str, *, is_forced: bool = False, margin: float = MARGIN, reason: str = ""
    ) -> Promotion:
        """Makes a version the champion, on all workers within a second.

        Raises Conflict (409) when the gate does not let it pass, or the margin is above 0.05, and it is not forced.
        """
        if not 0 <= margin <= 1:
            raise InvalidRequest(f"margin is {margin}; it must be from 0 to 1.", param="margin")
        if margin > WIDEST_MARGIN and not is_forced:
            told = f"a margin of {margin:g} is above {WIDEST_MARGIN:g}, so the gate would tell nothing"
            raise Conflict(f"Version {number} of {name!r} was not promoted: {told}. Force it, which is noted.")
        line, versions = await self._taken_over(name, actor)
        if number not in {version.number for version in versions}:
            raise NotFound(f"Line {name!r} has no version {number}.", param="version")
        if number == line.champion:
            return Promotion(line, Gate(None, f"Version {number} is the champion already."), was_forced=False)
        gate = await self.gate(name, line.champion, number, margin)
        if not gate.passed and not is_forced:
            raise Conflict(f"Version {number} of {name!r} was not promoted: {gate.reason}")
        values: dict[str, Any] = {"champion": number, "previous": line.champion, "canary": 0.0}
        if line.challenger == number:
            values["challenger"] = None
        was_forced = not gate.passed or margin > WIDEST_MARGIN
        detail = {
            "from": line.champion,
            "to": number,
            "forced": was_forced,
            "gate": gate.reason,
            "set": gate.set_hash,
            "margin": margin,
            "reason": reason,
        }
        changed = await self.lines.change(line, values, actor, "line.promote", detail)
        return Promotion(changed, gate, was_forced)

    async def rollback(self, name: str, actor: str, reason: str = "") -> Line:
        """Brings the champion of before back, and ends a canary. Raises Conflict (409) when there was none."""
        line, _ = await self._taken_over(name, actor)
        if line.previous is None:
            raise Conflict(f"Line {name!r} has nothing to go back to.")
        # Not the one that was left: a second rollback would bring what was bad back.
        values = {"champion": line.previous, "previous": None, "canary": 0.0}
        detail = {"from": line.champion, "to": line.previous, "reason": reason}
        return await self.lines.change(line, values, actor, "line.rollback", detail)

    async def canary(
        self,
        name: str,
        number: int | None,
        share: float,
        actor: str,
        reason: str = "",
        inside: Inside | None = None,
    ) -> Line:
        """Has a version answer a share (0 to 1) of the champion's calls; None or 0 ends it."""
        if not 0 <= share <= 1:
            raise InvalidRequest(f"share is {share}; it must be from 0 to 1.", param="share")
        line, _ = await self._taken_over(name, actor)
        if number == line.champion and share:
            raise InvalidRequest(f"Version {number} is the champion already.", param="version")
        values = {"challenger": number or line.challenger, "canary": share if number is not None else 0.0}
        detail = {"version": number, "share": values["canary"], "reason": reason}
        return await self.lines.change(line, values, actor, "line.canary", detail, inside)

    async def succeed(self, name: str, successor: SuccessorEntry | None, actor: str) -> Line:
        """Says where a line's calls go once it has ended; None is nowhere. What models.yaml says of it goes above this.

        Raises InvalidRequest (400) for a line, model or collection that is not there.
        """
        line, _ = await self._taken_over(name, actor)
        if successor is not None:
            self._require_there(successor)
        written = None if successor is None else successor.model_dump_json(exclude_defaults=True)
        return await self.lines.change(
            line, {"successor": written}, actor, "line.successor", {"successor": written or "none"}
        )

    def _require_there(self, successor: SuccessorEntry) -> None:
        catalogue = self._rulebook().policy.catalogue
        if successor.line and not catalogue.knows_line(successor.line):
            raise InvalidRequest(f"{successor.line!r} is no line, or no version of one.", param="line")
        if successor.model and not catalogue.knows_model(successor.model):
            raise InvalidRequest(f"The model {successor.model!r} is not in models.yaml.", param="model")
        missing = [one for one in successor.collections if one not in catalogue.knowledge.collections]
        if missing:
            raise InvalidRequest(f"{missing[0]!r} is no collection of knowledge.yaml.", param="collections")

    async def gate(self, name: str, champion: int, candidate: int, margin: float = MARGIN) -> Gate:
        """Whether a candidate did as well as the champion by the newest measure (set and grader) that both have.

        With a champion that has ended nothing can be compared any more: any measure of the candidate's does then.
        """
        mine = {_measure(score): score for score in reversed(await self.lines.scores(name, candidate))}
        theirs = {_measure(score): score for score in reversed(await self.lines.scores(name, champion))}
        end = next((self.ended(one) for one in (await self._read(name))[1] if one.number == champion), None)
        # What was measured after its day goes on answering, whoever says that it ended.
        if end is not None and mine and all(utc_day(one.created_at) < end.day for one in theirs.values()):
            newest = max(mine.values(), key=lambda one: one.created_at)
            told = f"version {champion} ended on {end.day} ({end.source}), so there is no champion to compare with"
            return Gate(True, f"{told}; version {candidate} scored {newest.mean:.3f}.", newest.set_hash)
        both = sorted(mine.keys() & theirs.keys(), key=lambda one: mine[one].created_at)
        if not both:
            told = f"versions {champion} and {candidate} were not measured on the same frozen set by the same grader"
            ask = f"gateway tuning evaluate {name} --set FILE --versions {champion},{candidate}"
            return Gate(False, f"{told}; run `{ask}`.")
        measure = both[-1]
        chosen = mine[measure].set_hash
        try:
            found = compare(*_paired(theirs[measure], mine[measure]), margin=margin)
        except DifferentSets as fault:
            return Gate(False, str(fault), chosen)
        passed = found.verdict in {"better", "not_worse"}
        return Gate(passed, _told(found, margin), chosen, found)

    def ended(self, version: Version) -> End | None:
        """The end of a version that is past it; None for one that is not, or whose end nobody knows."""
        written = None if version.shutdown_date is None else date.fromisoformat(version.shutdown_date)
        ends = self._rulebook().policy.catalogue.ends
        end = ends.of(version.model, version.upstream, version.base, written)
        return end if end is not None and end.day <= utc_day(self._clock.wall()) else None

    async def _read(self, name: str) -> tuple[Line, list[Version], str]:
        try:
            return (*await self.lines.find(name), "registry")
        except NotFound:
            entry = self._rulebook().models.lines.get(name)
            if entry is None:
                raise NotFound(f"There is no line {name!r}.", param="line") from None
            return (*self._of_policy(name, entry), POLICY)

    async def _taken_over(self, name: str, actor: str) -> tuple[Line, list[Version]]:
        line, versions, kept_in = await self._read(name)
        if kept_in == POLICY:
            await self.lines.create(line, versions, actor)
        return line, versions

    def _of_policy(self, name: str, entry: LineEntry) -> tuple[Line, list[Version]]:
        now = self._clock.wall()
        teams = msgspec.json.encode(entry.teams).decode()
        line = Line(name, "", entry.champion, entry.challenger, None, entry.canary, teams, None, 1, now)
        return line, [_of_file(name, number, one, now) for number, one in enumerate(entry.versions, 1)]

    async def _version(self, line: str, new: NewVersion, owner: str, actor: str) -> Version:
        now = self._clock.wall()
        if not new.job:
            if not new.model or not new.base:
                raise InvalidRequest(
                    "A version has a `model` and its `base`, or the `job` that made it.", param="model"
                )
            upstream = new.upstream or self._rulebook().policy.catalogue.default_upstream()
            if upstream not in self._rulebook().models.upstreams:
                raise InvalidRequest(f"Upstream {upstream!r} is not in models.yaml.", param="upstream")
            made: Mapping[str, Any] = {"model": new.model, "upstream": upstream, "base": new.base}
        else:
            made = await self._made(new.job, owner)
        training_file = new.training_file or str(made.get("training_file", ""))
        rest = {"training_file": training_file, "shutdown_date": new.shutdown_date, "notes": new.notes}
        return Version(line, 1, **{**made, **rest}, owner=owner, created_by=actor, created_at=now)

    async def _made(self, job_id: str, owner: str) -> dict[str, Any]:
        job = await self._jobs.find(job_id)
        if job is None or (owner and job.team != owner):
            of = f" of team {owner!r}" if owner else ""
            raise NotFound(f"There is no fine-tuning job {job_id!r}{of} here.", param="job")
        if job.tuned_model is None:
            raise Conflict(f"Job {job_id} is {job.state}; a version needs the model of one that succeeded.")
        points = await self._jobs.checkpoints(job, 100, None)
        return {
            "model": job.tuned_model,
            "upstream": job.serves_at,
            "base": job.model,
            "job_id": job.id,
            "training_file": job.training_file,
            "dataset_hash": job.dataset_hash,
            "hyperparameters": job.resolved,
            "checkpoints": msgspec.json.encode([point.model for point in points.items]).decode(),
            "trained_tokens": job.trained_tokens,
            "cost_nano_usd": job.cost_nano_usd,
        }

    async def _shown(self, line: Line, versions: list[Version], kept_in: str) -> ShownLine:
        scores = await self.lines.scores(line.name)
        named = {"champion": line.champion, "challenger": line.challenger}
        shown = [
            ShownVersion(
                version,
                tuple(alias for alias, number in named.items() if number == version.number),
                tuple((one.set_hash, one.mean) for one in scores if one.number == version.number),
            )
            for version in versions
        ]
        return ShownLine(line, tuple(shown), kept_in)


def _is_named(policy: Policy, name: str) -> bool:
    """Whether a rule sends calls to a line, or asks what it was trained on."""
    ways = [way for rule in policy.rules for _, way in rule.ways]
    ways += [way for rule in policy.rules for way in rule.fallbacks]
    ways += [rule.shadow.way for rule in policy.rules if rule.shadow is not None]
    named = {(way.line or way.model or "").partition("@")[0] for way in ways}
    return name in named or name in policy.asks_tasks


def _of_file(name: str, number: int, entry: VersionEntry, now: float) -> Version:
    return Version(
        name,
        number,
        model=entry.id,
        upstream=entry.upstream,
        base=entry.base,
        training_file=entry.training_file or "",
        created_by=POLICY,
        created_at=now,
        shutdown_date=None if entry.shutdown_date is None else entry.shutdown_date.isoformat(),
    )


def _measure(scored: Scored) -> tuple[str, str]:
    """What scores of two versions must have in common: the set and the grader, else the evaluation they are of."""
    return scored.set_hash, "" if "/" in scored.set_hash else scored.source


def _paired(champion: Scored, candidate: Scored) -> tuple[dict[str, float], dict[str, float]]:
    """The scores of both. Of one set those of the items that both answered: of each a few may have come to nothing."""
    theirs, mine = _scores(champion), _scores(candidate)
    shared = theirs.keys() & mine.keys()
    if champion.items == candidate.items and shared:
        return {key: theirs[key] for key in shared}, {key: mine[key] for key in shared}
    return theirs, mine


def _scores(scored: Scored) -> dict[str, float]:
    return msgspec.json.decode(scored.scores, type=dict[str, float])


def _told(found: Comparison, margin: float) -> str:
    if found.low is None or found.high is None:
        return f"{found.n} items are too few to tell; the mean difference is {found.mean_difference:+.3f}."
    interval = f"{found.mean_difference:+.3f} (95 %: {found.low:+.3f} to {found.high:+.3f}, {found.n} items)"
    return f"the candidate is {found.verdict.replace('_', ' ')} at a margin of {margin:g}: {interval}."
