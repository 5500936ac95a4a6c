"""/auth: people sign in at the operator's OpenID Connect provider, and get a session."""

import hmac
import importlib
import re
from typing import Annotated, Any, cast
from urllib.parse import unquote

import msgspec
from litestar import Request, Response, get, post
from litestar.datastructures import Cookie, State
from litestar.params import FromQuery, QueryParameter

from gateway.core.clock import Clock
from gateway.core.errors import InvalidRequest, RouteNotFound, SignInRefused
from gateway.core.settings import Settings
from gateway.http.access import SESSION, Access
from gateway.identity.access.holders import Holders
from gateway.identity.access.session import SESSION_SECONDS, Sealed, Session, SignIn
from gateway.identity.oidc.provider import Provider, Tokens
from gateway.identity.roles import Grant
from gateway.upstream.fetch import Fetcher

UNDER_WAY = "switchyard_sign_in"
AFTERWARDS = "/auth/me"
NO_STORE = {"cache-control": "no-store"}
_ERROR = re.compile(r"[a-z_]{1,64}")


class Me(msgspec.Struct):
    """Who has signed in, and what they may do. ends_at: of the session, in Unix seconds."""

    email: str
    roles: list[Grant]
    ends_at: float


class Doors:
    """What lets people in; one per app, under `state.doors`. provider: None when nobody signs in."""

    def __init__(self, settings: Settings, pepper: bytes, holders: Holders, clock: Clock) -> None:
        self.access = Access(settings, pepper, holders, clock)
        self.fetcher = Fetcher()
        self.under_way = Sealed(pepper, "sign-in", SignIn)
        self.provider: Provider | None = None
        self.is_secure = False
        if settings.sign_in is not None:
            # Not imported above: it loads a library of cryptography, 0.1 s of a start, which few gateways need.
            tokens = cast("Tokens", importlib.import_module("gateway.identity.oidc.id_token"))
            self.provider = Provider(settings.sign_in, self.fetcher, tokens, clock)
            self.is_secure = settings.sign_in.public_url.startswith("https://")

    def required(self) -> Provider:
        """The provider. Raises RouteNotFound (404) when signing in is not set up."""
        if self.provider is None:
            raise RouteNotFound("Nobody signs in here: GATEWAY_OIDC_ISSUER is not set.")
        return self.provider

    def cookie(self, name: str, value: str, seconds: int) -> Cookie:
        """A cookie that no script reads and no other site sends along with a change."""
        return Cookie(
            key=name, value=value, path="/", max_age=seconds, httponly=True, samesite="lax", secure=self.is_secure
        )


@get("/auth/login")
async def login(state: State, goes_to: FromQuery[str] = AFTERWARDS) -> Response[None]:
    """Sends the browser to the provider. goes_to: a path here, for afterwards."""
    doors = _doors(state)
    provider = doors.required()
    if not _is_own_path(goes_to):
        raise InvalidRequest(f"goes_to is {goes_to[:100]!r}; it must be a path here, such as /schema.", param="goes_to")
    url, begun = await provider.begin(goes_to)
    return _sent(url, doors.cookie(UNDER_WAY, doors.under_way.seal(begun), 600))


@get("/auth/callback")
async def callback(
    request: Request[Any, Any, Any],
    state: State,
    code: FromQuery[str | None] = None,
    given_state: Annotated[str | None, QueryParameter(name="state")] = None,
    error: FromQuery[str | None] = None,
    iss: FromQuery[str | None] = None,
) -> Response[None]:
    """Takes the provider's answer: a session for a member, a refusal for anybody else."""
    doors, access = _doors(state), _access(state)
    provider = doors.required()
    begun = doors.under_way.opened(request.cookies.get(UNDER_WAY, ""))
    now = access.clock.wall()
    if (
        begun is None
        or begun.ends_at <= now
        or not hmac.compare_digest(begun.state.encode(), (given_state or "").encode())
    ):
        # Without this check somebody could have a victim's browser sign in as somebody else.
        raise InvalidRequest("This answer fits no sign-in that began in this browser; begin again at /auth/login.")
    if iss is not None and iss != provider.settings.issuer:
        raise SignInRefused("The answer comes from another sign-in provider.")
    if error is not None or not code:
        told = error if error is not None and _ERROR.fullmatch(error) else "no code"
        raise SignInRefused(f"The sign-in provider says: {told}.")
    email = await provider.finish(begun, code)
    access.member(email)
    session = access.sessions.seal(Session(email, now + SESSION_SECONDS))
    return _sent(begun.goes_to, doors.cookie(SESSION, session, SESSION_SECONDS), doors.cookie(UNDER_WAY, "", 0))


@get("/auth/me")
async def me(request: Request[Any, Any, Any], state: State) -> Response[Me]:
    """Who has signed in, and what they may do at the moment."""
    _doors(state).required()
    access = _access(state)
    session = access.session(request)
    return Response(Me(session.email, list(access.member(session.email).grants), session.ends_at), headers=NO_STORE)


@post("/auth/logout", status_code=204)
async def logout(request: Request[Any, Any, Any], state: State) -> Response[None]:
    """Forgets the session in this browser."""
    doors = _doors(state)
    doors.required()
    _access(state).require_own_page(request)
    return Response(None, status_code=204, headers=NO_STORE, cookies=[doors.cookie(SESSION, "", 0)])


def _is_own_path(path: str) -> bool:
    """Whether a browser stays here: a second slash of either kind, and control characters, lead elsewhere."""
    plain = unquote(path)
    return plain.startswith("/") and plain[1:2] not in {"/", "\\"} and path.isascii() and path.isprintable()


def _sent(url: str, *cookies: Cookie) -> Response[None]:
    return Response(None, status_code=303, headers={"location": url, **NO_STORE}, cookies=list(cookies))


def _doors(state: State) -> Doors:
    doors: Doors = state.doors
    return doors


def _access(state: State) -> Access:
    return _doors(state).access
