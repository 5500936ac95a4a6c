"""Who may use which route: one table, and nothing that is not in it."""

import hmac
from typing import Any
from urllib.parse import urlsplit

from litestar import Litestar
from litestar.connection import ASGIConnection
from litestar.exceptions import ImproperlyConfiguredException
from litestar.handlers.base import BaseRouteHandler

from gateway.core.clock import Clock
from gateway.core.errors import InvalidRequest, MissingKey, NotPermitted, SignInRefused
from gateway.core.settings import Settings
from gateway.core.values import Value
from gateway.identity.access.holders import PREFIX, Holders
from gateway.identity.access.session import Sealed, Session
from gateway.identity.roles import TEAM_ROLES, Grant, Holder, Role

ADMIN: frozenset[Role] = frozenset({"admin"})
AUTHORS: frozenset[Role] = ADMIN | {"policy_author"}
OWNERS: frozenset[Role] = ADMIN | {"team_owner"}
TEAMS: frozenset[Role] = OWNERS | {"team_viewer"}
READERS: frozenset[Role] = TEAMS | {"policy_author"}
# Anybody, without a key: nothing that the gateway knows of its users is told there.
EVERYBODY = None
# Whoever holds a team's key; `identity/keys.py` looks at it.
CALLERS = "callers"

METRICS = "/metrics"
# What describes the routes, in the several shapes that Litestar gives it below this path.
SCHEMA = "/schema"
SESSION = "switchyard_session"
READING = frozenset({"GET", "HEAD"})
Opened = frozenset[Role] | str | None

ACCESS: dict[tuple[str, str], Opened] = {
    ("*", "/v1"): CALLERS,
    ("GET", "/healthz"): EVERYBODY,
    ("GET", "/readyz"): EVERYBODY,
    ("GET", METRICS): ADMIN | {"metrics"},
    ("GET", "/auth/login"): EVERYBODY,
    ("GET", "/auth/callback"): EVERYBODY,
    ("GET", "/auth/me"): EVERYBODY,
    ("POST", "/auth/logout"): EVERYBODY,
    ("GET", SCHEMA): EVERYBODY,
    ("GET", "/admin/teams"): TEAMS,
    ("POST", "/admin/teams"): ADMIN,
    ("PUT", "/admin/teams/{team}"): ADMIN,
    ("PUT", "/admin/teams/{team}/budget"): ADMIN,
    ("GET", "/admin/keys"): TEAMS,
    ("POST", "/admin/keys"): OWNERS,
    ("POST", "/admin/keys/{key_id}/rotate"): OWNERS,
    ("DELETE", "/admin/keys/{key_id}"): OWNERS,
    ("GET", "/admin/usage"): READERS,
    ("GET", "/admin/decisions/{decision_id}"): AUTHORS,
    ("POST", "/admin/explain"): AUTHORS,
    ("GET", "/admin/roles"): ADMIN,
    ("POST", "/admin/roles"): ADMIN,
    ("DELETE", "/admin/roles/{key_id}"): ADMIN,
    ("GET", "/admin/members"): ADMIN,
    ("POST", "/admin/members"): ADMIN,
    ("DELETE", "/admin/members/{email}"): ADMIN,
    ("GET", "/admin/audit"): ADMIN,
    ("GET", "/admin/budgets"): TEAMS,
    ("PUT", "/admin/budgets"): ADMIN,
    ("DELETE", "/admin/budgets/{budget_id}"): ADMIN,
    ("GET", "/admin/limits"): ADMIN,
    ("PUT", "/admin/limits"): ADMIN,
    ("GET", "/admin/prices"): READERS,
    ("POST", "/admin/prices/diff"): AUTHORS,
    ("POST", "/admin/prices/apply"): ADMIN,
    ("POST", "/admin/prices/reprice"): ADMIN,
    ("POST", "/admin/usage/{event_id}/adjust"): ADMIN,
    ("GET", "/admin/usage/{event_id}/adjustments"): ADMIN,
    ("GET", "/admin/usage/export"): READERS,
    ("GET", "/admin/usage/reconcile"): ADMIN,
    ("GET", "/admin/webhooks"): ADMIN,
    ("POST", "/admin/webhooks/{delivery_id}/retry"): ADMIN,
    ("POST", "/admin/webhooks/test"): ADMIN,
    ("POST", "/admin/retention"): ADMIN,
    ("GET", "/admin/knowledge"): AUTHORS,
    ("POST", "/admin/knowledge/{collection}/sync"): AUTHORS,
    ("GET", "/admin/knowledge/{collection}/search"): AUTHORS,
    ("GET", "/admin/knowledge/gaps"): READERS,
    ("GET", "/admin/knowledge/impact"): READERS,
    ("GET", "/admin/lines"): READERS,
    ("GET", "/admin/lines/stale"): READERS,
    ("GET", "/admin/lines/trials"): READERS,
    ("GET", "/admin/lines/{line}"): READERS,
    ("GET", "/admin/lines/{line}/events"): READERS,
    ("POST", "/admin/lines"): OWNERS,
    ("DELETE", "/admin/lines/{line}"): OWNERS,
    ("POST", "/admin/lines/{line}/successor"): OWNERS,
    ("POST", "/admin/lines/{line}/versions"): OWNERS,
    ("GET", "/admin/lines/{line}/gate"): READERS,
    ("POST", "/admin/lines/{line}/promote"): OWNERS,
    ("POST", "/admin/lines/{line}/rollback"): OWNERS,
    ("POST", "/admin/lines/{line}/canary"): OWNERS,
    ("GET", "/admin/tuning/jobs"): TEAMS,
    ("GET", "/admin/feedback"): TEAMS,
    ("POST", "/admin/lines/{line}/evaluations"): OWNERS,
    ("GET", "/admin/lines/{line}/evaluations/{evaluation}"): READERS,
}


class Admitted(Value, frozen=True):
    """Who a request is from. teams: what it may touch of teams; None is all of them."""

    actor: str
    teams: frozenset[str] | None


class Access:
    """Finds out who a request is from; one per app, under `state.access`."""

    def __init__(self, settings: Settings, pepper: bytes, holders: Holders, clock: Clock) -> None:
        self.metrics_auth = settings.metrics_auth
        self.sessions = Sealed(pepper, "session", Session)
        self.clock = clock
        self._admin_key = settings.admin_key
        self._holders = holders
        self._public_url = settings.sign_in.public_url if settings.sign_in is not None else None

    def holder(self, connection: ASGIConnection[Any, Any, Any, Any]) -> Holder:
        """The holder of the key or the session that a request brings.

        Raises MissingKey and SignInRefused (401), NotPermitted (403), NotReady (503).
        """
        kind, _, given = connection.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and given.strip():
            return self._of_key(given.strip())
        if kind or self._public_url is None or SESSION not in connection.cookies:
            raise MissingKey("Send the admin key or a role key as `Authorization: Bearer <key>`.")
        email = self.session(connection).email
        self.require_own_page(connection)
        return self.member(email)

    def member(self, email: str) -> Holder:
        """What a person may do at the moment. Raises NotPermitted (403) for nobody, NotReady (503)."""
        return self._holders.by_email(email, self.clock.wall())

    def _of_key(self, given: str) -> Holder:
        if given.startswith(PREFIX):
            return self._holders.by_key(given.encode(), self.clock.wall())
        if self._admin_key is None:
            raise NotPermitted("No GATEWAY_ADMIN_KEY is set, and this is no role key.")
        if not hmac.compare_digest(given.encode(), self._admin_key.encode()):
            raise NotPermitted("This is neither the admin key nor a role key.")
        return Holder("admin", (Grant("admin"),))

    def session(self, connection: ASGIConnection[Any, Any, Any, Any]) -> Session:
        """The session of a browser. Raises SignInRefused (401)."""
        session = self.sessions.opened(connection.cookies.get(SESSION, ""))
        if session is None or session.ends_at <= self.clock.wall():
            raise SignInRefused("You are not signed in, or no longer; begin at /auth/login.")
        return session

    def require_own_page(self, connection: ASGIConnection[Any, Any, Any, Any]) -> None:
        """Raises NotPermitted (403) for a change that another site's page may have sent with our cookie."""
        if _method(connection) in READING:
            return
        # Another site's page cannot set this header without asking first, and nobody here says yes.
        if "x-requested-with" in connection.headers:
            return
        origin = connection.headers.get("origin")
        if origin is None or self._public_url is None or not same_origin(origin, self._public_url):
            raise NotPermitted("Changes by a signed-in browser need the header `x-requested-with`, or our own origin.")


def same_origin(one: str, other: str) -> bool:
    """Whether two URLs have the same scheme, host and port."""
    ports = {"https": 443, "http": 80}
    try:
        first, second = (
            (split.scheme, split.hostname, split.port or ports.get(split.scheme))
            for split in (urlsplit(one), urlsplit(other))
        )
    except ValueError:
        return False
    return first == second and first[1] is not None


def authorize(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
    """Lets a request in when its route is in the table and somebody with one of its roles sends it.

    Raises InvalidRequest (400), MissingKey, SignInRefused (401), NotPermitted (403), NotReady (503).
    """
    access: Access = connection.app.state.access
    path = _plain(connection.scope["path_template"])
    if "\0" in connection.scope["path"] or b"%00" in connection.scope["query_string"]:
        raise InvalidRequest("An address has no NUL in it; nothing here is named so.")
    found = ACCESS.get((_method(connection), path), CALLERS)
    if found is EVERYBODY or (path == METRICS and not access.metrics_auth):
        return
    if isinstance(found, str):
        raise NotPermitted(f"{_method(connection)} {path} is open to nobody.")
    holder = access.holder(connection)
    grants = [grant for grant in holder.grants if grant.role in found]
    if not grants:
        has = ", ".join(sorted({grant.role for grant in holder.grants}))
        raise NotPermitted(f"This needs the role {' or '.join(sorted(found))}; yours is {has}.")
    everywhere = any(grant.role not in TEAM_ROLES for grant in grants)
    teams = None if everywhere else frozenset(grant.team for grant in grants)
    connection.state.admitted = Admitted(holder.actor, teams)


def actor_of(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """Who sent an admitted request, as the audit log names them."""
    return _admitted(connection).actor


def teams_of(connection: ASGIConnection[Any, Any, Any, Any]) -> frozenset[str] | None:
    """The teams that an admitted request may touch; None is all."""
    return _admitted(connection).teams


def require_team(connection: ASGIConnection[Any, Any, Any, Any], team: str) -> None:
    """Raises NotPermitted (403) when an admitted request may not touch this team."""
    teams = teams_of(connection)
    if teams is not None and team not in teams:
        raise NotPermitted(f"Your role is for {', '.join(sorted(teams))}, not for {team!r}.")


def require_listed(application: Litestar) -> None:
    """Raises ImproperlyConfiguredException for a route that is not in the table: nobody has said who may use it."""
    unlisted = [route for route in routes_of(application) if route not in ACCESS]
    if unlisted:
        raise ImproperlyConfiguredException(f"not in the table of gateway/http/access.py: {unlisted}")


def routes_of(application: Litestar) -> list[tuple[str, str]]:
    """Every route as method and path, parameters without their types; a mount has the method `*`."""
    found = []
    for route in application.routes:
        methods = getattr(route, "methods", {"*"}) or {"*"}
        # Litestar answers OPTIONS itself, with the methods of the path.
        path = _plain(route.path_format)
        path = SCHEMA if path.startswith(SCHEMA + "/") else path
        found += [(str(method), path) for method in sorted(methods) if method != "OPTIONS"]
    return found


def _plain(path: str) -> str:
    pieces = [
        piece.partition(":")[0] + "}" if piece.startswith("{") and ":" in piece else piece for piece in path.split("/")
    ]
    return "/".join(pieces)


def _method(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    return str(connection.scope.get("method", ""))


def _admitted(connection: ASGIConnection[Any, Any, Any, Any]) -> Admitted:
    admitted: Admitted = connection.state.admitted
    return admitted
