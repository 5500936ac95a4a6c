"""policies/teams.yaml: teams and their budgets, for those who keep them in files. Keys never stand here."""

from typing import Annotated

from pydantic import Field

from gateway.core.document import Written
from gateway.policy.models_file import Name


class CaptureEntry(Written):
    """That a team's calls are kept with their words, for training and evaluation. Without it none is.

    share: of the calls. days: until a call is deleted. redact: personal data is replaced before anything is stored.
    """

    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    days: Annotated[float, Field(gt=0, le=3_650)] = 30
    redact: bool = True


class TeamEntry(Written):
    """A team. organisation: who it is a part of, if anybody. monthly_budget_usd: a hard limit per UTC month.

    capture: None keeps no words of any call.
    """

    title: str = ""
    organisation: Name | None = None
    monthly_budget_usd: Annotated[float, Field(ge=0, lt=9e9)] | None = None
    capture: CaptureEntry | None = None


class TeamsFile(Written):
    """The whole file."""

    teams: dict[Name, TeamEntry] = {}
