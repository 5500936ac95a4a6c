"""A claim, signed with a service account's key. The only file here that imports joserfc: 0.1 s of a start."""

from collections.abc import Mapping

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from gateway.knowledge.remote.fetch import FetchFailed


def sign(claims: Mapping[str, str | int], private_key: str, key_id: str) -> str:
    """The claims as a JWT. private_key: PEM. Raises FetchFailed, which does not hold the key."""
    head = {"alg": "RS256", "typ": "JWT"} | ({"kid": key_id} if key_id else {})
    try:
        return jwt.encode(head, dict(claims), RSAKey.import_key(private_key))
    except (JoseError, ValueError, TypeError):
        raise FetchFailed("credentials: private_key is no RSA key in PEM.") from None
