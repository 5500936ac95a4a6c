"""The sign-in provider: what it says of itself, and the authorization code flow with PKCE."""

import base64
import hashlib
import secrets
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import quote_plus, urlencode

import msgspec

from gateway.core.clock import Clock
from gateway.core.errors import NotPermitted, SignInRefused, UpstreamFailed
from gateway.core.settings import SignInSettings, is_safe_url
from gateway.identity.access.session import SIGN_IN_SECONDS, SignIn

CALLBACK = "/auth/callback"
SCOPE = "openid email"
DISCOVERY = "/.well-known/openid-configuration"
KEPT_SECONDS = 3600.0
# Anybody can send tokens with made-up key ids here; the provider is not asked for each.
REFETCH_SECONDS = 10.0


class Fetch(Protocol):
    """What asks the provider. Raises UpstreamFailed (502), UpstreamTimeout (504)."""

    async def get(self, url: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Status and body."""
        ...

    async def post_form(self, url: str, headers: Mapping[str, str], fields: Mapping[str, str]) -> tuple[int, bytes]:
        """The same for a form sent by POST."""
        ...


class Tokens(Protocol):
    """What checks ID tokens: `identity/oidc/id_token.py`."""

    UnknownSigner: type[Exception]

    def verified_claims(
        self, token: str, keys: bytes, *, issuer: str, client_id: str, nonce: str, now: float
    ) -> dict[str, Any]:
        """The claims of a token that is good."""
        ...


class Described(msgspec.Struct):
    """What of a discovery document is used."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    token_endpoint_auth_methods_supported: list[str] | None = None


class Granted(msgspec.Struct):
    """What a code is exchanged for."""

    id_token: str
    access_token: str = ""


class Person(msgspec.Struct):
    """What is read of a person's claims. Some providers write the boolean as text."""

    email: str | None = None
    email_verified: bool | str = False


class Provider:
    """One provider and our registration with it."""

    def __init__(self, settings: SignInSettings, fetch: Fetch, tokens: Tokens, clock: Clock) -> None:
        self.settings = settings
        self._fetch = fetch
        self._tokens = tokens
        self._clock = clock
        self._described: tuple[float, Described] | None = None
        self._keys: tuple[float, bytes] | None = None

    @property
    def redirect_uri(self) -> str:
        """Where the provider sends the browser back to; it must be registered there."""
        return self.settings.public_url + CALLBACK

    async def begin(self, goes_to: str) -> tuple[str, SignIn]:
        """Where the browser goes to sign in, and what its return must fit. Raises UpstreamFailed, UpstreamTimeout."""
        described = await self._describe()
        begun = SignIn(
            state=secrets.token_urlsafe(32),
            nonce=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(48),
            goes_to=goes_to,
            ends_at=self._clock.wall() + SIGN_IN_SECONDS,
        )
        challenge = base64.urlsafe_b64encode(hashlib.sha256(begun.verifier.encode()).digest()).decode().rstrip("=")
        asked = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": SCOPE,
            "state": begun.state,
            "nonce": begun.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        joint = "&" if "?" in described.authorization_endpoint else "?"
        return described.authorization_endpoint + joint + urlencode(asked), begun

    async def finish(self, begun: SignIn, code: str) -> str:
        """The verified email of who has signed in, in lower case.

        Raises SignInRefused (401) for a code or token that is not good, NotPermitted (403) without a verified email,
        UpstreamFailed (502), UpstreamTimeout (504).
        """
        described = await self._describe()
        granted = await self._exchange(described, code, begun.verifier)
        claims = await self._claims(described, granted.id_token, begun.nonce)
        if "email" not in claims and described.userinfo_endpoint and granted.access_token:
            # With a code, a provider may keep what the scope `email` asks for to this endpoint.
            claims = await self._userinfo(described.userinfo_endpoint, granted.access_token, str(claims["sub"]))
        try:
            person = msgspec.convert(claims, Person)
        except msgspec.ValidationError:
            person = Person()
        if not person.email or person.email_verified not in {True, "true"}:
            raise NotPermitted("The sign-in provider names no email address that it has verified.")
        return person.email.strip().lower()

    async def _describe(self) -> Described:
        now = self._clock.monotonic()
        if self._described is None or now - self._described[0] > KEPT_SECONDS:
            issuer = self.settings.issuer
            body = await self._get(issuer.rstrip("/") + DISCOVERY)
            try:
                found = msgspec.json.decode(body, type=Described)
            except msgspec.DecodeError:
                raise UpstreamFailed("The sign-in provider's discovery document cannot be read.") from None
            if found.issuer != issuer:
                # Whoever can answer for this address under another name could answer for anybody.
                raise UpstreamFailed(f"The sign-in provider calls itself {found.issuer!r} and not {issuer!r}.")
            self._described = (now, found)
        return self._described[1]

    async def _exchange(self, described: Described, code: str, verifier: str) -> Granted:
        client, secret = self.settings.client_id, self.settings.client_secret
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": verifier,
        }
        headers = {"accept": "application/json"}
        methods = described.token_endpoint_auth_methods_supported or ["client_secret_basic"]
        if secret is not None and "client_secret_basic" in methods:
            # RFC 6749, 2.3.1: both are form-encoded before they are joined.
            pair = f"{quote_plus(client)}:{quote_plus(secret)}".encode()
            headers["authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        else:
            fields |= {"client_id": client} if secret is None else {"client_id": client, "client_secret": secret}
        status, body = await self._fetch.post_form(_safe(described.token_endpoint), headers, fields)
        if status == 400:
            raise SignInRefused("The sign-in provider does not take this code; it may have been used. Sign in again.")
        try:
            if status != 200:
                raise UpstreamFailed(f"The sign-in provider answered {status} to a code.")
            return msgspec.json.decode(body, type=Granted)
        except msgspec.DecodeError:
            raise UpstreamFailed("The sign-in provider's answer to a code cannot be read.") from None

    async def _claims(self, described: Described, token: str, nonce: str) -> dict[str, Any]:
        def checked(keys: bytes) -> dict[str, Any]:
            return self._tokens.verified_claims(
                token,
                keys,
                issuer=self.settings.issuer,
                client_id=self.settings.client_id,
                nonce=nonce,
                now=self._clock.wall(),
            )

        try:
            return checked(await self._signers(described, KEPT_SECONDS))
        except self._tokens.UnknownSigner:
            pass
        try:
            return checked(await self._signers(described, REFETCH_SECONDS))
        except self._tokens.UnknownSigner:
            raise SignInRefused("The sign-in provider's ID token is signed by a key that it does not list.") from None

    async def _signers(self, described: Described, oldest_seconds: float) -> bytes:
        """The provider's keys, no older than this."""
        now = self._clock.monotonic()
        if self._keys is None or now - self._keys[0] > oldest_seconds:
            self._keys = (now, await self._get(_safe(described.jwks_uri)))
        return self._keys[1]

    async def _userinfo(self, url: str, access_token: str, subject: str) -> dict[str, Any]:
        body = await self._get(_safe(url), {"authorization": f"Bearer {access_token}"})
        try:
            claims = msgspec.json.decode(body, type=dict[str, Any])
        except msgspec.DecodeError:
            raise UpstreamFailed("The sign-in provider's account of a person cannot be read.") from None
        if claims.get("sub") != subject:
            raise SignInRefused("The sign-in provider tells of another person than who has signed in.")
        return claims

    async def _get(self, url: str, headers: Mapping[str, str] | None = None) -> bytes:
        status, body = await self._fetch.get(url, {"accept": "application/json", **(headers or {})})
        if status != 200:
            raise UpstreamFailed(f"The sign-in provider answered {status}.")
        return body


def _safe(url: str) -> str:
    if not is_safe_url(url.partition("?")[0]):
        raise UpstreamFailed("The sign-in provider names an address without https.")
    return url
