"""/admin of what becomes of lines: the twins of `gateway tuning stale` and `gateway tuning trials`."""

from typing import Annotated, Any

import msgspec
from litestar import Request, get
from litestar.datastructures import State
from litestar.params import FromQuery

from gateway.canaries import evidence_of
from gateway.core.values import Value
from gateway.http.access import teams_of
from gateway.http.admin.lines import registry_of
from gateway.stale import WITHIN_DAYS, Stale
from gateway.tuned import Tuned
from gateway.tuning.lines.values import Standing
from gateway.tuning.sequential import Evidence

Days = Annotated[int, msgspec.Meta(ge=0, le=3_650)]


class ToldTrial(Value, frozen=True):
    """A canary with what each measure says against its challenger."""

    standing: Standing
    evidence: tuple[Evidence, ...]


@get("/lines/stale")
async def stale_lines(
    request: Request[Any, Any, Any], state: State, within_days: FromQuery[Days] = WITHIN_DAYS
) -> list[Stale]:
    """Tuned models, the soonest end first. A role for a team sees its own use of lines that it may call."""
    teams = teams_of(request)
    tuned: Tuned = state.tuned
    return await tuned.stale(within_days, None if teams is None else frozenset(teams))


@get("/lines/trials")
async def line_trials(request: Request[Any, Any, Any], state: State) -> list[ToldTrial]:
    """How the canaries stand. A role for a team sees those of its lines and of nobody's."""
    teams = teams_of(request)
    tuned: Tuned = state.tuned
    owners = {one.line.name: one.line.owner for one in await registry_of(state).all()}
    return [
        ToldTrial(one, evidence_of(one))
        for one in await tuned.canaries.standing()
        if teams is None or owners.get(one.key.line, "") in {"", *teams}
    ]
