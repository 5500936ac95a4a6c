"""Keys in memory: one HMAC and one look-up a call, whatever the number of keys."""

import hmac
import secrets

from gateway.core.call import Inbound, Principal
from gateway.core.errors import MissingKey, NotReady, UnknownKey
from gateway.core.values import Value

PREFIX = "sk-gw-"
# What `keys list` shows of a key: enough to tell two apart, 32 bits of 256.
SHOWN = len(PREFIX) + 6


class Key(Value, frozen=True):
    """A key as the look-up holds it. Times are Unix seconds."""

    digest: bytes
    principal: Principal
    expires_at: float | None = None


def new_key() -> str:
    """A fresh key: 256 random bits after a prefix that says whose it is."""
    return PREFIX + secrets.token_urlsafe(32)


def digest_of(pepper: bytes, key: str | bytes) -> bytes:
    """What is kept of a key. HMAC with a server-side pepper: a stolen database opens nothing."""
    return hmac.digest(pepper, key if isinstance(key, bytes) else key.encode(), "sha256")


class KeyRing:
    """All live keys. `replace` swaps the whole table at once, so no call sees half of a change."""

    def __init__(self, pepper: bytes) -> None:
        self._pepper = pepper
        self._keys: dict[bytes, Key] | None = None

    def replace(self, keys: list[Key]) -> None:
        """Takes over a new set of keys."""
        self._keys = {key.digest: key for key in keys}

    def principal(self, inbound: Inbound, now: float) -> Principal:
        """Who sends this. now: Unix seconds.

        Raises MissingKey or UnknownKey (401), and NotReady (503) before the keys were loaded once:
        a database that is away must not look like a wrong key.
        """
        credential = _credential(inbound)
        if self._keys is None:
            raise NotReady("The gateway has not loaded its keys yet.", retry_after_seconds=1)
        if not credential:
            raise MissingKey("You didn't provide an API key. Send it as `Authorization: Bearer <key>`.")
        key = self._keys.get(hmac.digest(self._pepper, credential, "sha256"))
        if key is None:
            raise UnknownKey(f"Incorrect API key provided: {_masked(credential)}.")
        if key.expires_at is not None and now >= key.expires_at:
            raise UnknownKey(f"The API key {_masked(credential)} has expired.")
        return key.principal


def _credential(inbound: Inbound) -> bytes:
    header = inbound.header(b"authorization")
    if header is not None:
        kind, _, credential = header.partition(b" ")
        return credential.strip() if kind.lower() == b"bearer" else b""
    # Azure's clients of the same SDK send this one.
    return (inbound.header(b"api-key") or b"").strip()


def _masked(credential: bytes) -> str:
    shown = credential[:SHOWN] if credential.startswith(PREFIX.encode()) else b""
    return (shown.decode("ascii", "replace") if shown.isascii() else "") + "***"
