"""/admin of evaluations of lines: the twin of `gateway tuning evaluate`."""

from typing import Any

import msgspec
from litestar import Request, get, post
from litestar.datastructures import State
from litestar.params import FromPath, FromQuery, JSONBody

from gateway.core.errors import InvalidRequest
from gateway.evaluating import MOST_ARMS, Evaluated, LineEvaluations, read_arm, version_arm
from gateway.http.access import require_team
from gateway.http.admin.lines import registry_of, require_owner
from gateway.http.admin.needs import Name
from gateway.registry import ShownLine
from gateway.tuned import Tuned
from gateway.tuning.golden import read_golden


class NewEvaluation(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be measured. set: the text of a golden set. versions, arms: as `evaluate` takes them.

    team: who pays for a line that nobody owns.
    """

    set: str
    versions: list[int] = []
    arms: list[str] = []
    grader: dict[str, Any] | None = None
    team: str = ""


@post("/lines/{line:str}/evaluations")
async def begin_evaluation(
    request: Request[Any, Any, Any], state: State, line: FromPath[Name], data: JSONBody[NewEvaluation]
) -> Evaluated:
    """Begins an evaluation, which goes on by itself; the champion is always an arm."""
    found = await registry_of(state).one(line)
    _require(request, found, data.team, changes=True)
    known = {one.version.number for one in found.versions}
    if unknown := [number for number in data.versions if number not in known]:
        raise InvalidRequest(f"Line {line!r} has no version {unknown[0]}.", param="versions")
    others = [read_arm(text) for text in data.arms]
    grader = None if data.grader is None else msgspec.json.encode(data.grader)
    evaluations = _evaluations(state)
    items = read_golden(data.set.encode())
    numbers = data.versions or await evaluations.due(line, items, grader, MOST_ARMS - 1 - len(others))
    arms = [version_arm(line, number) for number in numbers] + others
    identity = await evaluations.begin(line, items, arms, grader=grader, team=data.team)
    return await evaluations.told(line, identity, data.team)


@get("/lines/{line:str}/evaluations/{evaluation:str}")
async def show_evaluation(
    request: Request[Any, Any, Any],
    state: State,
    line: FromPath[Name],
    evaluation: FromPath[str],
    team: FromQuery[str] = "",
) -> Evaluated:
    """How an evaluation stands; one that is over has left its scores with the line."""
    _require(request, await registry_of(state).one(line), team)
    return await _evaluations(state).told(line, evaluation, team)


def _require(request: Request[Any, Any, Any], found: ShownLine, team: str, *, changes: bool = False) -> None:
    # Calls are the owner's where there is one: naming another team opens nothing.
    if team and not found.line.owner:
        require_team(request, team)
    else:
        require_owner(request, found.line, changes=changes)


def _evaluations(state: State) -> LineEvaluations:
    tuned: Tuned = state.tuned
    return tuned.evaluations
