"""An ID token, checked. It imports joserfc: 0.1 s of a start, so only a gateway with OIDC loads it.

The checks are those of OpenID Connect Core 1.0, section 3.1.3.7, for a token that came straight from the provider.
"""

from typing import Any

import msgspec
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from gateway.core.errors import SignInRefused, UpstreamFailed

# A token signed with a secret that both sides have could be made by whoever reads our settings.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
LEEWAY_SECONDS = 60
LONGEST = 64 * 1024


class UnknownSigner(Exception):
    """The token names a key that is not in the set: the provider may have changed its keys."""


def verified_claims(token: str, keys: bytes, *, issuer: str, client_id: str, nonce: str, now: float) -> dict[str, Any]:
    """The claims of a token that is good. keys: the provider's JWKS. now: Unix seconds.

    Raises SignInRefused (401) for a token that is not, UnknownSigner, and UpstreamFailed (502) for keys that cannot
    be read.
    """
    if len(token) > LONGEST:
        raise SignInRefused("The sign-in provider's ID token is too long.")
    registry = jwt.JWTClaimsRegistry(
        now=int(now),
        leeway=LEEWAY_SECONDS,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": client_id},
        sub={"essential": True},
        exp={"essential": True},
        iat={"essential": True},
        nonce={"essential": True, "value": nonce},
    )
    signers = _signers(keys)
    try:
        claims = jwt.decode(token, signers, algorithms=ALGORITHMS).claims
        registry.validate(claims)
    except InvalidKeyIdError:
        raise UnknownSigner from None
    except (JoseError, ValueError, TypeError) as fault:
        # The library's words name the claim or the algorithm, never a value of the token.
        raise SignInRefused(f"The sign-in provider's ID token is not good: {type(fault).__name__}: {fault}.") from None
    audience, party = claims["aud"], claims.get("azp")
    if party != client_id and (party is not None or (isinstance(audience, list) and len(audience) > 1)):
        raise SignInRefused("The sign-in provider's ID token was made for another application.")
    return dict(claims)


def _signers(keys: bytes) -> KeySet:
    try:
        written = msgspec.json.decode(keys)
        signing = [key for key in written["keys"] if key.get("use", "sig") == "sig" and key.get("kty") != "oct"]
        return KeySet.import_key_set({"keys": signing})
    except (JoseError, msgspec.DecodeError, ValueError, TypeError, KeyError, AttributeError) as fault:
        raise UpstreamFailed(f"The sign-in provider's keys cannot be read ({type(fault).__name__}).") from None
