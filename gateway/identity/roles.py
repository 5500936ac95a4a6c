"""What those who run the gateway may be: five roles, two of them for one team each."""

from typing import Literal

from gateway.core.errors import InvalidRequest
from gateway.core.values import Value

Role = Literal["admin", "policy_author", "team_owner", "team_viewer", "metrics"]
# What each is for; which routes it opens stands in `gateway/http/access.py`.
ROLES: dict[Role, str] = {
    "admin": "everything",
    "policy_author": "explains calls and decisions, reads usage",
    "team_owner": "sees one team, its budget and its usage; creates, rotates and revokes its keys",
    "team_viewer": "sees one team, its keys, its budget and its usage",
    "metrics": "reads /metrics, and nothing else",
}
TEAM_ROLES: frozenset[Role] = frozenset({"team_owner", "team_viewer"})


class Grant(Value, frozen=True):
    """A role; of a team role also which team, else ""."""

    role: Role
    team: str = ""


class Holder(Value, frozen=True):
    """Somebody who may do something. actor: as the audit log names them: `admin`, `key:<id>`, `oidc:<email>`."""

    actor: str
    grants: tuple[Grant, ...]


def checked_grant(role: str, team: str) -> Grant:
    """A grant as somebody writes it. Raises InvalidRequest (400)."""
    found = next((one for one in ROLES if one == role), None)
    if found is None:
        raise InvalidRequest(f"{role!r} is no role; there are {', '.join(ROLES)}.", param="role")
    if found in TEAM_ROLES and not team:
        raise InvalidRequest(f"The role {role!r} is for one team; say which.", param="team")
    if found not in TEAM_ROLES and team:
        raise InvalidRequest(f"The role {role!r} is for no one team; leave the team out.", param="team")
    return Grant(found, team)
