"""Keys in memory: one HMAC and one look-up a call, whatever the number of keys."""

import hmac
import secrets
from collections.abc import Iterable

from gateway.core.call import Inbound, Principal
from gateway.core.errors import MissingKey, NotReady, UnknownKey
from gateway.core.values import Value

PREFIX = "sk-gw-"
# What `keys list` shows of a key: enough to tell two apart, 32 bits of 256.
SHOWN = len(PREFIX) + 6
# Keys made since the database was last heard of are not known yet: only just after that is an unknown key a wrong one.
FRESH_SECONDS = 2.0
MAX_AGE_SECONDS = 3600.0


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
    """All live keys. `replace` swaps the whole table at once, so no call sees half of a change.

    max_age_seconds: how long keys are good after the database last said that they are; until then it may be away.
    """

    def __init__(self, pepper: bytes, max_age_seconds: float = MAX_AGE_SECONDS) -> None:
        self._pepper = pepper
        self._max_age_seconds = max_age_seconds
        self._keys: dict[bytes, Key] | None = None
        self._ends: dict[str, float | None] = {}
        self.confirmed_at = 0.0

    def replace(self, keys: Iterable[Key], confirmed_at: float) -> None:
        """Takes over a new set of keys. confirmed_at: when the database said so, in Unix seconds."""
        self._keys = {key.digest: key for key in keys}
        self._ends = {key.principal.key_id: key.expires_at for key in self._keys.values()}
        self.confirmed_at = confirmed_at

    def confirm(self, now: float) -> None:
        """The database says that nothing has changed."""
        self.confirmed_at = now

    def is_good(self, key_id: str, since: float, now: float) -> bool:
        """Whether work that a key began at `since` may go on: the key was neither revoked nor has it expired.

        Work without a key is the gateway's own. A key that was made after the database was last heard of is good.
        """
        if not key_id or self._keys is None:
            return True
        if key_id not in self._ends:
            return self.confirmed_at < since + FRESH_SECONDS
        end = self._ends[key_id]
        return end is None or now < end

    def principal(self, inbound: Inbound, now: float) -> Principal:
        """Who sends this. now: Unix seconds.

        Raises MissingKey or UnknownKey (401). Raises NotReady (503) before the keys were loaded once, when they are
        older than they may be, and for a key that may have been made while the database was away: that must not look
        like a wrong key.
        """
        credential = _credential(inbound)
        if self._keys is None:
            raise NotReady("The gateway has not loaded its keys yet.", retry_after_seconds=1)
        if not credential:
            raise MissingKey("You didn't provide an API key. Send it as `Authorization: Bearer <key>`.")
        key = self._keys.get(hmac.digest(self._pepper, credential, "sha256"))
        age = now - self.confirmed_at
        if age > self._max_age_seconds or (key is None and age > FRESH_SECONDS):
            raise NotReady(
                f"The database of keys has not answered for {age:.0f} s; this key cannot be checked.",
                retry_after_seconds=1,
            )
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
