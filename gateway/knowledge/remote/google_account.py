"""How Google is asked on somebody's behalf: a service account that signs, or a person's refresh token."""

import importlib
import time
from typing import Literal
from urllib.parse import urlencode, urlsplit

import msgspec

from gateway.core.settings import is_safe_url
from gateway.knowledge.remote.fetch import Fetcher, FetchFailed, found_secret
from gateway.knowledge.remote.shapes import decoded
from gateway.knowledge.settings import RemoteSettings

SCOPE = "https://www.googleapis.com/auth/drive.readonly"
TOKEN_URI = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
MOST_SECONDS = 3600


class _Account(msgspec.Struct):
    """The JSON file that Google hands out, of either type."""

    type: Literal["service_account", "authorized_user"]
    token_uri: str = TOKEN_URI
    client_email: str = ""
    private_key: str = ""
    private_key_id: str = ""
    client_id: str = ""
    client_secret: str = ""
    refresh_token: str = ""


class _Token(msgspec.Struct):
    access_token: str


async def google_headers(credentials: str | None, private_network: bool) -> dict[str, str]:  # noqa: FBT001 - of the settings
    """The header that opens Drive for an hour. Raises FetchFailed, which never holds what is secret."""
    text = found_secret(credentials, "credentials")
    try:
        account = msgspec.json.decode(text, type=_Account)
    except msgspec.DecodeError:
        raise FetchFailed("credentials: not the JSON of a service account or an authorized user.") from None
    if not is_safe_url(account.token_uri):
        raise FetchFailed("credentials: token_uri must begin with https://.")
    form = _signed(account) if account.type == "service_account" else _refreshing(account)
    parts = urlsplit(account.token_uri)
    settings = RemoteSettings(
        "google_account", f"{parts.scheme}://{parts.netloc}", private_network=private_network, requests_per_second=100
    )
    headers = {"content-type": "application/x-www-form-urlencoded"}
    async with Fetcher(settings) as fetcher:
        reply = await fetcher.post(account.token_uri, urlencode(form).encode(), headers)
    return {"authorization": f"Bearer {decoded(reply, _Token).access_token}"}


def _signed(account: _Account) -> dict[str, str]:
    # Imported for the first service account only: its library takes 0.1 s of a start.
    signing = importlib.import_module("gateway.knowledge.remote.google_assertion")
    now = int(time.time())
    claims = {
        "iss": account.client_email,
        "scope": SCOPE,
        "aud": account.token_uri,
        "iat": now,
        "exp": now + MOST_SECONDS,
    }
    assertion = signing.sign(claims, account.private_key, account.private_key_id)
    return {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}


def _refreshing(account: _Account) -> dict[str, str]:
    return {
        "grant_type": "refresh_token",
        "client_id": account.client_id,
        "client_secret": account.client_secret,
        "refresh_token": account.refresh_token,
    }
