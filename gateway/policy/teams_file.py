"""policies/teams.yaml: teams and their budgets, for those who keep them in files. Keys never stand here."""

from typing import Annotated

from pydantic import Field

from gateway.core.document import Written
from gateway.policy.models_file import Name


class TeamEntry(Written):
    """A team. organisation: who it is a part of, if anybody. monthly_budget_usd: a hard limit per UTC month."""

    title: str = ""
    organisation: Name | None = None
    monthly_budget_usd: Annotated[float, Field(ge=0, lt=9e9)] | None = None


class TeamsFile(Written):
    """The whole file."""

    teams: dict[Name, TeamEntry] = {}
