"""`gateway datasets build --from ledger`: a training file of captured calls, or of what was said of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cyclopts import Parameter

from gateway.cli.output import print_json, say
from gateway.cli.tuning_place import with_tuned
from gateway.core.errors import InvalidRequest


@Parameter(name="*")
@dataclass(frozen=True)
class Calls:
    """Which captured calls `--from ledger` takes."""

    team: str = ""
    line: str | None = None
    since: str | None = None
    only_positive: bool = False
    method: Literal["supervised", "dpo"] = "supervised"


NO_CALLS = Calls()


def build_from_ledger(out: Path | None, calls: Calls, *, redact: bool, force: bool, json: bool) -> None:
    """Writes the rows and their provenance. Raises InvalidRequest without --out, --team or an opted-in team."""
    from gateway.cli.datasets_edit import write_rows
    from gateway.tuning.datasets.mended_rows import written
    from gateway.tuning.datasets.provenance import dataset_hash

    if out is None or not calls.team:
        raise InvalidRequest("`--from ledger` needs --out FILE and --team TEAM.")
    rows, left_out = with_tuned(lambda place: rows_of(place, calls, redacts=redact))
    write_rows(out, (written(one.row) for one in rows), [one.provenance for one in rows], replaces=force)
    hashed = dataset_hash(one.row for one in rows)
    if json:
        print_json({"out": str(out), "rows": len(rows), "hash": hashed, "left_out": dict(left_out)})
        return
    for why, count in left_out.most_common():
        say(f"{count} left out: {why}.")
    say(f"{out}: {len(rows)} rows, {hashed}. Next: gateway datasets lint {out}")


async def rows_of(place: Any, calls: Calls, *, redacts: bool = True) -> tuple[list[Any], Any]:
    """The rows of a team's captured calls, and a count of those left out by reason."""
    from gateway.ledger.span import unix_time
    from gateway.tuning.captured.examples import Examples, Terms, rated, unusable
    from gateway.tuning.captured.values import CallsAsked

    require_capture(place, calls.team)
    since = unix_time(calls.since, "since") or 0.0
    asked = CallsAsked(calls.team, calls.line, since)
    examples = Examples(Terms(calls.only_positive, redacts))

    async def said_of(ids: Any) -> Any:
        return await place.feedback.of(calls.team, ids)

    read = rated(place.captured.read(asked, place.clock.wall()), said_of)
    if calls.method == "dpo":
        # Only of these is anything held: most calls have nothing said of them.
        held = [one async for one in read if one[1] is not None or unusable(one[0])]
        return list(examples.pairs(held)), examples.left_out
    made = [examples.row(call, said) async for call, said in read]
    return [one for one in made if one is not None], examples.left_out


def require_capture(place: Any, team: str) -> None:
    """Raises InvalidRequest (400) for a team that has not opted in, or no longer: its calls are not to be used."""
    entry = place.loaded.rulebook.teams.teams.get(team)
    if entry is None or entry.capture is None:
        raise InvalidRequest(
            f"Team {team!r} has not opted in to having its calls kept: `capture: {{}}` in policies/teams.yaml.",
            param="team",
        )
