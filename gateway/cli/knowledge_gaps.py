"""`gateway knowledge gaps` and `impact`: what nothing answered, and which answers stood on an old version."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.cli.output import print_json, print_table, say
from gateway.cli.place import database, run, settings


def gaps(
    *,
    collection: str | None = None,
    since: str | None = None,
    until: str | None = None,
    team: str | None = None,
    limit: int = 20,
    json: bool = False,
) -> None:
    """Lists questions that the collections did not answer, by what they are about, the most frequent first.

    since, until: `2026-11-01` or an ISO time, UTC unless it says otherwise; until is not included.
    """

    async def work() -> Any:
        from gateway.answered import Answers
        from gateway.ledger.answers.store import AnswerStore

        async with database(settings()) as opened:
            return await Answers(AnswerStore(opened), _nowhere).gaps(collection, since, until, team, limit)

    found = run(work())
    if json:
        print_json(found)
        return
    say(f"{found.total} questions without an answer" + (", and older ones" if found.is_cut else "") + ".")
    if found.without_words:
        say(f"Of {found.without_words} no words are kept (`record_gaps: false`).")
    if found.compared < found.total - found.without_words:
        say(f"Put together below are the latest {found.compared}.")
    rows = [
        (one.count, one.samples[0][:80].replace("\n", " "), ", ".join(one.teams), ", ".join(one.collections), _day(one))
        for one in found.clusters
    ]
    print_table(("questions", "such as", "teams", "collections", "last"), rows, frozenset({"questions"}))


def tell_impact(
    open_library: Callable[[Path | None], Awaitable[tuple[Any, Any]]],
    document: str,
    collection: str | None,
    since: str | None,
    team: str | None,
    limit: int,
    policies: Path | None,
    *,
    json: bool,
) -> int:
    """Says which answers stood on another version of a document than the current one; 1 when there are any.

    open_library: gives a library, and the poster to close after use.
    """

    async def work() -> Any:
        from gateway.answered import Answers
        from gateway.ledger.answers.store import AnswerStore

        library, poster = await open_library(policies)
        try:
            async with database(settings(policies=policies)) as opened:
                current: Callable[[str], Awaitable[Mapping[str, str]]] = library.current
                return await Answers(AnswerStore(opened), current).impact(document, collection, since, team, limit)
        finally:
            await library.close()
            await poster.close()

    found = run(work())
    if json:
        print_json(found)
        return 1 if found.affected else 0
    now = ", ".join(f"{version} in {name}" for name, version in found.current.items()) or "gone"
    say(f"{found.affected} answers stood on another version of {document} than the current one ({now}).")
    say(f"{found.cited} cited it; of {found.unknown} nobody can tell. {found.up_to_date} stood on the current one.")
    rows = [
        (
            _moment(one.at),
            one.call_id,
            one.team,
            one.model,
            one.version,
            one.current_version or "gone",
            _word(one.cited),
        )
        for one in found.listed
    ]
    print_table(("at", "call", "team", "model", "version", "current", "cited"), rows)
    return 1 if found.affected else 0


async def _nowhere(_document: str) -> Mapping[str, str]:
    """Where no document is asked about."""
    return {}


def _word(cited: bool | None) -> str:  # a column's value
    return "unknown" if cited is None else "yes" if cited else "no"


def _day(cluster: Any) -> str:
    return _moment(cluster.last_at)[:10]


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
