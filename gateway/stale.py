"""Which tuned models will be shut down: when, who says so, what they are used for, and the ways on."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from urllib.parse import urlsplit

from gateway.core.clock import DAY_SECONDS
from gateway.core.settings import secret
from gateway.core.values import Value
from gateway.ledger.reports.store import Amounts, ReportStore
from gateway.policy.catalogue import open_to
from gateway.policy.ends import End, base_of
from gateway.policy.load import Rulebook
from gateway.policy.models_file import LineEntry, SuccessorEntry
from gateway.policy.tuning_file import HostedTrainerEntry
from gateway.pricing.model_ids import is_tuned
from gateway.training import trainers_of

USED_DAYS = 30
WITHIN_DAYS = 90
# Never: sorts behind every day.
FAR = 10**6


class TeamUse(Value, frozen=True):
    """What a team used of a model in the last 30 days. unpriced: attempts whose cost is not in cost_nano_usd."""

    team: str
    calls: int
    cost_nano_usd: int
    unpriced: int


class Stale(Value, frozen=True):
    """A tuned model in use. line, version: None for one that is in no line. days_left: None when nobody knows its end.

    said: every source with its day; the earliest counts. ways: what can be done, in words.
    """

    line: str | None
    version: int | None
    model: str
    base: str
    day: date | None
    days_left: int | None
    source: str | None
    said: tuple[tuple[str, date], ...]
    contradicts: bool
    is_within: bool
    calls: int
    cost_nano_usd: int
    teams: tuple[TeamUse, ...]
    ways: tuple[str, ...]


async def stale_models(
    reports: ReportStore,
    rulebook: Rulebook,
    environment: Mapping[str, str],
    now: float,
    today: date,
    within: int = WITHIN_DAYS,
    teams: frozenset[str] | None = None,
) -> list[Stale]:
    """Champions of lines, and tuned models in no line that were called in the last 30 days; the soonest end first.

    within: days. teams: whose lines and calls are to be seen; None for all.
    """
    used = await reports.sums(("team", "line", "model"), since=now - USED_DAYS * DAY_SECONDS, until=now)
    if teams is not None:
        used = [one for one in used if one.group["team"] in teams]
    found = [*_of_lines(rulebook, used, environment, today, within, teams), *_of_models(rulebook, used, today, within)]
    return sorted(found, key=lambda one: (FAR if one.days_left is None else one.days_left, one.line or one.model))


def _of_lines(
    rulebook: Rulebook,
    used: Sequence[Amounts],
    environment: Mapping[str, str],
    today: date,
    within: int,
    teams: frozenset[str] | None,
) -> Iterator[Stale]:
    for name, line in rulebook.models.lines.items():
        if teams is not None and not any(open_to(line.teams, team) for team in teams):
            continue
        version = line.versions[line.champion - 1]
        end = rulebook.policy.catalogue.end_of_version(name, line.champion)
        mine = [one for one in used if one.group["line"] == name]
        ways = tuple(_ways(rulebook, name, line, environment, today))
        yield _stale(name, line.champion, version.id, version.base, end, today, within, mine, ways)


def _of_models(rulebook: Rulebook, used: Sequence[Amounts], today: date, within: int) -> Iterator[Stale]:
    catalogue = rulebook.policy.catalogue
    by_model: dict[str, list[Amounts]] = {}
    for one in used:
        model = one.group["model"] or ""
        # What was trained is no call of the model.
        if one.group["line"] is None and is_tuned(model) and one.calls and catalogue.line_of(model) is None:
            by_model.setdefault(model, []).append(one)
    for model, mine in by_model.items():
        entry = rulebook.models.models.get(model)
        upstream = entry.upstream if entry is not None else catalogue.default_upstream()
        ways = ("it is in no line: `gateway tuning create` makes one, which can have a successor",)
        yield _stale(None, None, model, base_of(model), catalogue.ends.of(model, upstream), today, within, mine, ways)


def _stale(
    line: str | None,
    version: int | None,
    model: str,
    base: str,
    end: End | None,
    today: date,
    within: int,
    used: Sequence[Amounts],
    ways: tuple[str, ...],
) -> Stale:
    left = None if end is None else (end.day - today).days
    teams: dict[str, TeamUse] = {}
    for one in used:
        team = one.group["team"] or ""
        before = teams.get(team, TeamUse(team, 0, 0, 0))
        teams[team] = TeamUse(
            team, before.calls + one.calls, before.cost_nano_usd + one.cost_nano_usd, before.unpriced + one.unpriced
        )
    return Stale(
        line,
        version,
        model,
        base,
        None if end is None else end.day,
        left,
        None if end is None else end.source,
        () if end is None else end.said,
        end is not None and end.contradicts,
        left is not None and left <= within,
        sum(one.calls for one in used),
        sum(one.cost_nano_usd for one in used),
        tuple(sorted(teams.values(), key=lambda one: (-one.cost_nano_usd, one.team))),
        ways,
    )


def _ways(rulebook: Rulebook, name: str, line: LineEntry, environment: Mapping[str, str], today: date) -> Iterator[str]:
    """What can be done about a line: where its calls go by themselves, what else it has, and who trains."""
    if line.successor is None:
        yield "no successor is declared: `successor:` in models.yaml"
    else:
        yield f"its calls go on to {_successor(line.successor)}"
    champion = rulebook.policy.catalogue.end_of_version(name, line.champion)
    for number in range(1, len(line.versions) + 1):
        end = rulebook.policy.catalogue.end_of_version(name, number)
        if champion is not None and number != line.champion and (end is None or end.day > champion.day):
            yield f"version {number} {'has no known end' if end is None else f'ends on {end.day}'}"
    for trainer, entry in trainers_of(rulebook).items():
        told = f"trainer {trainer} ({entry.kind})"
        if not isinstance(entry, HostedTrainerEntry):
            yield f"{told} trains {', '.join(entry.models)}"
            continue
        day = _no_jobs_from(rulebook, entry, environment)
        when = "" if day is None else f", but none since {day}" if day <= today else f", none from {day} on"
        yield f"{told} takes jobs{when}"


def _successor(successor: SuccessorEntry) -> str:
    where = f" with {', '.join(successor.collections)}" if successor.collections else ""
    return f"{successor.path}:{successor.line or successor.model}{where}"


def _no_jobs_from(rulebook: Rulebook, entry: HostedTrainerEntry, environment: Mapping[str, str]) -> date | None:
    """From when on the trainer's provider takes no more jobs, as the dated list has it."""
    upstream = rulebook.models.upstreams[entry.upstream]
    host = urlsplit(secret(upstream.base_url, environment, [], "") or "").hostname
    days = [one.day for one in rulebook.policy.catalogue.ends.listed.trainings if host in one.hosts]
    return min(days, default=None)
