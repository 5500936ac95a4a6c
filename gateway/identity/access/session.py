"""What a browser keeps: signed, for a time, and without any right of its own.

A session names a person. What the person may do is looked up at each request, so a member who is removed is out
within a second, whatever cookie is left.
"""

import base64
import binascii
import hmac
from typing import Generic, TypeVar

import msgspec

from gateway.core.values import Value

SESSION_SECONDS = 8 * 3600
SIGN_IN_SECONDS = 600
_TAG = 32

Held = TypeVar("Held")


class Session(Value, frozen=True):
    """Somebody who has signed in. ends_at: Unix seconds."""

    email: str
    ends_at: float


class SignIn(Value, frozen=True):
    """A sign-in that is under way: what the provider's answer must fit. goes_to: a path of ours, for afterwards."""

    state: str
    nonce: str
    verifier: str
    goes_to: str
    ends_at: float


class Sealed(Generic[Held]):
    """Values of one kind as text that nobody can make without the pepper.

    about: what they are, so that one kind never passes for another.
    """

    def __init__(self, pepper: bytes, about: str, kind: type[Held]) -> None:
        self._key = hmac.digest(pepper, f"switchyard cookie {about}".encode(), "sha256")
        self._decoder = msgspec.json.Decoder(kind)

    def seal(self, value: Held) -> str:
        """The value as URL-safe text."""
        body = msgspec.json.encode(value)
        return base64.urlsafe_b64encode(hmac.digest(self._key, body, "sha256") + body).decode().rstrip("=")

    def opened(self, text: str) -> Held | None:
        """The value; None for text that was not sealed here."""
        try:
            whole = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except (ValueError, binascii.Error):
            return None
        tag, body = whole[:_TAG], whole[_TAG:]
        if not hmac.compare_digest(tag, hmac.digest(self._key, body, "sha256")):
            return None
        try:
            return self._decoder.decode(body)
        except msgspec.DecodeError:
            return None
