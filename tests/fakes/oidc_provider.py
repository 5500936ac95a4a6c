"""An OpenID Connect provider on a real socket, with RSA keys of its own: it signs in whoever the test says.

It refuses what a real one refuses: another redirect address, a code that was used, a verifier that does not fit.
"""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import KeySet, OctKey, RSAKey

CLIENT_ID = "switchyard"
CLIENT_SECRET = "a secret: with + and / of the tests"


class OidcProvider:
    """The provider. claims: of the next ID token, above what is usual; None leaves one out.

    asked: how often each path was asked for.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.issuer = url
        self.email = "ann@example.com"
        self.claims: dict[str, Any] = {}
        self.described: dict[str, Any] = {}
        self.userinfo: dict[str, Any] | None = None
        self.more_keys: list[Any] = []
        self.algorithm = "RS256"
        self.refuses: str | None = None
        self.asked: Counter[str] = Counter()
        self._signer = RSAKey.generate_key(2048, {"kid": "first"})
        self._listed = [self._signer]
        self._codes: dict[str, dict[str, str]] = {}

    def reset(self) -> None:
        """As it was at the start, but for its keys."""
        self.email, self.claims, self.described, self.userinfo = "ann@example.com", {}, {}, None
        self.more_keys = []
        self.algorithm, self.refuses, self.issuer = "RS256", None, self.url
        self.asked.clear()

    def rotate(self, *, is_listed: bool = True) -> None:
        """Signs with a new key from now on; the old one is listed no more."""
        self._signer = RSAKey.generate_key(2048, {"kid": secrets.token_hex(4)})
        if is_listed:
            self._listed = [self._signer]

    def list_signer(self) -> None:
        """Lists the key it signs with."""
        self._listed = [self._signer]

    def answer(self, method: str, path: str, query: dict[str, str], headers: Any, form: dict[str, str]) -> Any:
        """Status, headers and body of one request."""
        self.asked[path] += 1
        if (method, path) == ("GET", "/.well-known/openid-configuration"):
            return 200, {}, self._description()
        if (method, path) == ("GET", "/keys"):
            return 200, {}, {"keys": [*KeySet(list(self._listed)).as_dict()["keys"], *self.more_keys]}
        if (method, path) == ("GET", "/authorize"):
            return self._authorize(query)
        if (method, path) == ("POST", "/token"):
            return self._token(form, headers.get("authorization"))
        if (method, path) == ("GET", "/userinfo") and headers.get("authorization") == "Bearer access":
            return 200, {}, self.userinfo or {}
        return 404, {}, {}

    def _description(self) -> dict[str, Any]:
        told = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "jwks_uri": f"{self.url}/keys",
        }
        return told | self.described

    def _authorize(self, query: dict[str, str]) -> Any:
        right = query["client_id"] == CLIENT_ID and query["response_type"] == "code"
        if not right or query["code_challenge_method"] != "S256" or "openid" not in query["scope"].split():
            return 400, {}, {"error": "invalid_request"}
        code = secrets.token_urlsafe(16)
        self._codes[code] = query
        answer = {"state": query["state"], "iss": self.url}
        answer |= {"error": self.refuses} if self.refuses else {"code": code}
        return 302, {"location": f"{query['redirect_uri']}?{urlencode(answer)}"}, {}

    def _token(self, form: dict[str, str], authorization: str | None) -> Any:
        kind, _, given = (authorization or "").partition(" ")
        name, _, secret = base64.b64decode(given).decode().partition(":") if kind == "Basic" else ("", "", "")
        said = (unquote_plus(name), unquote_plus(secret))
        if "client_secret_post" in self.described.get("token_endpoint_auth_methods_supported", ()):
            said = (form.get("client_id", ""), form.get("client_secret", ""))
        if said != (CLIENT_ID, CLIENT_SECRET):
            return 401, {}, {"error": "invalid_client"}
        asked = self._codes.pop(form["code"], None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).decode()
        if asked is None or challenge.rstrip("=") != asked["code_challenge"]:
            return 400, {}, {"error": "invalid_grant"}
        if form["redirect_uri"] != asked["redirect_uri"] or form["grant_type"] != "authorization_code":
            return 400, {}, {"error": "invalid_grant"}
        return 200, {}, {"id_token": self.token(asked["nonce"]), "access_token": "access", "token_type": "Bearer"}

    def token(self, nonce: str) -> str:
        """An ID token as the test wants it."""
        now = int(time.time())
        usual = {
            "iss": self.url,
            "aud": CLIENT_ID,
            "sub": "ann-1",
            "iat": now,
            "exp": now + 300,
            "nonce": nonce,
            "email": self.email,
            "email_verified": True,
        }
        claims = {name: value for name, value in (usual | self.claims).items() if value is not None}
        if self.algorithm == "none":
            parts = [json.dumps(part).encode() for part in ({"alg": "none"}, claims)]
            return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + "."
        header = {"alg": self.algorithm, "kid": self._signer.kid}
        if self.algorithm == "HS256":
            # What an attacker does who knows the public key, or the client's secret.
            return jwt.encode(header, claims, OctKey.import_key(CLIENT_SECRET))
        return jwt.encode(header, claims, self._signer, algorithms=[self.algorithm])


class _Handler(BaseHTTPRequestHandler):
    provider: OidcProvider

    def do_GET(self) -> None:
        self._answer("GET", {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"] or 0)).decode()
        self._answer("POST", {name: values[0] for name, values in parse_qs(body).items()})

    def _answer(self, method: str, form: dict[str, str]) -> None:
        split = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(split.query).items()}
        status, headers, told = self.provider.answer(method, split.path, query, self.headers, form)
        body = json.dumps(told).encode()
        self.send_response(status)
        for name, value in {**headers, "content-type": "application/json", "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing: a test's output is for its failures."""


@contextmanager
def oidc_provider() -> Iterator[OidcProvider]:
    """A provider, ready; its socket is closed when the block is left."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    provider = OidcProvider(f"http://127.0.0.1:{server.server_address[1]}")
    server.RequestHandlerClass = type("Handler", (_Handler,), {"provider": provider})
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
