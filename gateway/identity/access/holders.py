"""Holders of roles in memory: by role key, and by the email of a person who has signed in."""

import hmac

from gateway.core.errors import NotPermitted, NotReady
from gateway.core.values import Value
from gateway.identity.keys import FRESH_SECONDS, MAX_AGE_SECONDS
from gateway.identity.roles import Holder

PREFIX = "sk-gwr-"


class RoleKey(Value, frozen=True):
    """A role key as the look-up holds it. Times are Unix seconds."""

    digest: bytes
    holder: Holder
    expires_at: float | None = None


class Holders:
    """All live role keys and members, kept as calls' keys are: swapped at once, and good for as long."""

    def __init__(self, pepper: bytes, max_age_seconds: float = MAX_AGE_SECONDS) -> None:
        self._pepper = pepper
        self._max_age_seconds = max_age_seconds
        self._keys: dict[bytes, RoleKey] = {}
        self._members: dict[str, Holder] = {}
        self.confirmed_at = 0.0

    def replace(self, keys: list[RoleKey], members: dict[str, Holder], confirmed_at: float) -> None:
        """Takes over who holds what. confirmed_at: when the database said so, in Unix seconds."""
        self._keys = {key.digest: key for key in keys}
        self._members = members
        self.confirmed_at = confirmed_at

    def confirm(self, now: float) -> None:
        """The database says that nothing has changed."""
        self.confirmed_at = now

    def by_key(self, given: bytes, now: float) -> Holder:
        """Who holds a role key. Raises NotPermitted (403), and NotReady (503) while that cannot be told."""
        key = self._keys.get(hmac.digest(self._pepper, given, "sha256"))
        self._require_news(now, known=key is not None)
        if key is None or (key.expires_at is not None and now >= key.expires_at):
            raise NotPermitted("This role key is not known, or has ended.")
        return key.holder

    def by_email(self, email: str, now: float) -> Holder:
        """Who somebody is that has signed in. Raises NotPermitted (403) for nobody, NotReady (503)."""
        holder = self._members.get(email)
        self._require_news(now, known=holder is not None)
        if holder is None:
            raise NotPermitted(f"{email!r} has no role here; an admin gives one with `gateway members add`.")
        return holder

    def _require_news(self, now: float, *, known: bool) -> None:
        age = now - self.confirmed_at
        if age > self._max_age_seconds or (not known and age > FRESH_SECONDS):
            raise NotReady("The database of roles does not answer; this cannot be checked.", retry_after_seconds=1)
