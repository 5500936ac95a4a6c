"""What the books say of answers from documents: which stood on an old version, and what none could be given to."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping

from gateway.core.errors import InvalidRequest
from gateway.core.values import Value
from gateway.knowledge.gaps import alike
from gateway.ledger.answers.store import AnswerStore, Tally, Unanswered
from gateway.ledger.span import unix_time

# Of the latest questions, in one report.
MOST_QUESTIONS = 20_000
# Of these, put together by their words.
MOST_COMPARED = 5_000
MOST_SAMPLES = 5
# Gives the version of a document in each collection that holds it.
Current = Callable[[str], Awaitable[Mapping[str, str]]]


class GapCluster(Value, frozen=True):
    """Questions that are about the same thing. samples: the most typical first. Times are Unix seconds."""

    count: int
    samples: tuple[str, ...]
    teams: dict[str, int]
    collections: tuple[str, ...]
    kinds: dict[str, int]
    first_at: float
    last_at: float


class GapReport(Value, frozen=True):
    """Questions that nothing answered, largest cluster first. without_words: of collections that keep none.

    is_cut: there were more than the latest 20,000, and only these were looked at. compared: how many stand in the
    clusters: the latest 5,000 of those with words at most.
    """

    total: int
    without_words: int
    is_cut: bool
    compared: int
    clusters: tuple[GapCluster, ...]


class Affected(Value, frozen=True):
    """An answer that stood on another version of a document than the current one. current_version: None, it is gone."""

    call_id: str
    at: float
    team: str
    model: str
    collection: str
    version: str
    current_version: str | None
    cited: bool | None


class ImpactReport(Value, frozen=True):
    """The answers that stood on what a document no longer says, counts first. current: by collection.

    cited: of these answers, those that cited it; unknown: those of which nobody can tell. versions, teams: answers by
    them. up_to_date: answers that stood on the current version. listed: the latest of them.
    """

    document: str
    affected: int
    cited: int
    unknown: int
    up_to_date: int
    versions: dict[str, int]
    teams: dict[str, int]
    current: dict[str, str]
    listed: tuple[Affected, ...]


class Answers:
    """Reports over the books and the library as it is now."""

    def __init__(self, store: AnswerStore, current: Current) -> None:
        self._store = store
        self._current = current

    async def gaps(
        self,
        collection: str | None = None,
        since: str | None = None,
        until: str | None = None,
        team: str | None = None,
        limit: int = 20,
    ) -> GapReport:
        """What could not be answered. Raises InvalidRequest for times that cannot be read."""
        _require_some(limit)
        start, end = unix_time(since, "since"), unix_time(until, "until")
        found = await self._store.unanswered(start, end, team, MOST_QUESTIONS + 1, collection)
        is_cut = len(found) > MOST_QUESTIONS
        found = found[:MOST_QUESTIONS]
        worded = [one for one in found if one.question]
        compared = worded[:MOST_COMPARED]
        # A second and more of arithmetic, which the calls of this process shall not wait for.
        groups = await asyncio.to_thread(alike, [one.question for one in compared])
        clusters = tuple(_cluster([compared[place] for place in places]) for places in groups[:limit])
        return GapReport(len(found), len(found) - len(worded), is_cut, len(compared), clusters)

    async def impact(
        self,
        document: str,
        collection: str | None = None,
        since: str | None = None,
        team: str | None = None,
        limit: int = 100,
    ) -> ImpactReport:
        """Whom a change of a document concerns. Raises InvalidRequest for a time that cannot be read."""
        _require_some(limit)
        start = unix_time(since, "since")
        tallies = await self._store.tallies(document, collection, start, team)
        # Which other collections hold such a document is nothing for a team that was not answered from them.
        theirs = None if team is None else {one.collection for one in tallies}
        current = {
            name: version
            for name, version in (await self._current(document)).items()
            if (collection is None or name == collection) and (theirs is None or name in theirs)
        }
        old = [one for one in tallies if current.get(one.collection) != one.version]
        versions = sorted({(one.collection, one.version) for one in old})
        listed = await self._store.standing(document, versions, start, team, limit)
        return ImpactReport(
            document=document,
            affected=_sum(old),
            cited=_sum(one for one in old if one.cited),
            unknown=_sum(one for one in old if one.cited is None),
            up_to_date=_sum(tallies) - _sum(old),
            versions=_by(old, lambda one: f"{one.collection}@{one.version}"),
            teams=_by(old, lambda one: one.team),
            current=current,
            listed=tuple(
                Affected(
                    one.call_id,
                    one.at,
                    one.team,
                    one.model,
                    one.collection,
                    one.version,
                    current.get(one.collection),
                    one.cited,
                )
                for one in listed
            ),
        )


def _require_some(limit: int) -> None:
    if not 1 <= limit <= MOST_QUESTIONS:
        raise InvalidRequest(f"limit is {limit}; it must be from 1 to {MOST_QUESTIONS:,}.", param="limit")


def _cluster(questions: list[Unanswered]) -> GapCluster:
    samples = dict.fromkeys(one.question for one in questions)
    times = [one.at for one in questions]
    return GapCluster(
        count=len(questions),
        samples=tuple(samples)[:MOST_SAMPLES],
        teams=dict(sorted(Counter(one.team for one in questions).items(), key=lambda one: (-one[1], one[0]))),
        collections=tuple(sorted({name for one in questions for name in one.collections})),
        kinds=dict(sorted(Counter(one.kind for one in questions).items())),
        first_at=min(times),
        last_at=max(times),
    )


def _sum(tallies: Iterable[Tally]) -> int:
    return sum(one.answers for one in tallies)


def _by(tallies: list[Tally], name: Callable[[Tally], str]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for one in tallies:
        found[name(one)] += one.answers
    return dict(sorted(found.items(), key=lambda one: (-one[1], one[0])))
