"""The provider over real sockets: what it may say of itself, and what we do not take."""

from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import httpx2
import msgspec
import pytest

from gateway.core.clock import Clock
from gateway.core.errors import GatewayError, SignInRefused, UpstreamFailed
from gateway.core.settings import SignInSettings
from gateway.identity.oidc import id_token
from gateway.identity.oidc.provider import Provider, Tokens
from gateway.upstream.fetch import Fetcher
from tests.fakes.oidc_provider import CLIENT_ID, CLIENT_SECRET, OidcProvider, oidc_provider
from tests.fakes.running_gateway import free_port


@pytest.fixture(scope="module")
def listening() -> Iterator[OidcProvider]:
    with oidc_provider() as running:
        yield running


@pytest.fixture
def idp(listening: OidcProvider) -> OidcProvider:
    listening.reset()
    return listening


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    made = Fetcher()
    yield made
    await made.close()


def registered(url: str, fetcher: Fetcher, **changed: Any) -> Provider:
    settings = SignInSettings(url, CLIENT_ID, CLIENT_SECRET, "https://gw.example.com")
    return Provider(msgspec.structs.replace(settings, **changed), fetcher, cast("Tokens", id_token), Clock())


async def signed_in(provider: Provider) -> str:
    url, begun = await provider.begin("/")
    async with httpx2.AsyncClient() as browser:
        location = (await browser.get(url)).headers["location"]
    return await provider.finish(begun, str(httpx2.URL(location).params["code"]))


async def test_an_email_comes_of_a_sign_in(idp: OidcProvider, fetcher: Fetcher) -> None:
    idp.email = "Ann@Example.COM "
    assert await signed_in(registered(idp.url, fetcher)) == "ann@example.com"


async def test_discovery_and_keys_are_asked_for_once(idp: OidcProvider, fetcher: Fetcher) -> None:
    provider = registered(idp.url, fetcher)
    for _ in range(3):
        await signed_in(provider)
    assert (idp.asked["/.well-known/openid-configuration"], idp.asked["/keys"], idp.asked["/token"]) == (1, 1, 3)


async def test_a_provider_by_another_name_is_not_ours(idp: OidcProvider, fetcher: Fetcher) -> None:
    idp.issuer = "https://evil.example"
    with pytest.raises(UpstreamFailed, match="calls itself"):
        await registered(idp.url, fetcher).begin("/")


@pytest.mark.parametrize(
    "described",
    [
        {"token_endpoint": "http://id.example.com/token"},
        {"token_endpoint": "file:///etc/passwd"},
        {"jwks_uri": "http://id.example.com/keys"},
        {"jwks_uri": None},
        {"token_endpoint": 7},
    ],
)
async def test_nothing_is_sent_where_it_could_be_read(
    idp: OidcProvider, fetcher: Fetcher, described: dict[str, Any]
) -> None:
    idp.described = described
    with pytest.raises(UpstreamFailed):
        await signed_in(registered(idp.url, fetcher))


async def test_a_provider_that_is_away_is_no_fault_of_the_callers(fetcher: Fetcher) -> None:
    with pytest.raises(GatewayError) as caught:
        await registered(f"http://127.0.0.1:{free_port()}", fetcher).begin("/")
    assert caught.value.status == 502


async def test_a_page_that_is_not_there_is_told_as_such(idp: OidcProvider, fetcher: Fetcher) -> None:
    with pytest.raises(UpstreamFailed, match="404"):
        await registered(f"{idp.url}/realm", fetcher).begin("/")


async def test_a_wrong_secret_is_the_operators_affair(idp: OidcProvider, fetcher: Fetcher) -> None:
    with pytest.raises(UpstreamFailed, match="401"):
        await signed_in(registered(idp.url, fetcher, client_secret="wrong"))


async def test_a_secret_goes_in_the_form_where_the_provider_wants_it_there(idp: OidcProvider, fetcher: Fetcher) -> None:
    idp.described = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    assert await signed_in(registered(idp.url, fetcher)) == "ann@example.com"


async def test_keys_of_other_kinds_beside_the_signing_one_do_no_harm(idp: OidcProvider, fetcher: Fetcher) -> None:
    idp.more_keys = [
        {"kty": "later", "kid": "x"},
        {"kty": "oct", "kid": "first", "k": "AAAA"},
        {"kty": "RSA", "use": "enc", "kid": "enc", "n": "AQAB", "e": "AQAB"},
    ]
    assert await signed_in(registered(idp.url, fetcher)) == "ann@example.com"


@pytest.mark.parametrize("keys", [[7], ["x"], [{}], [None], [{"kty": "RSA"}]])
async def test_keys_that_cannot_be_read_are_the_providers_affair(
    idp: OidcProvider, fetcher: Fetcher, keys: list[Any]
) -> None:
    idp.more_keys = keys
    with pytest.raises(UpstreamFailed, match="keys cannot be read"):
        await signed_in(registered(idp.url, fetcher))


@pytest.mark.parametrize(
    "token", ["", "x", "a.b.c", "a.b", "....", "eyJhbGciOiJSUzI1NiJ9.e30.x", "\u00e9.\u00e9.\u00e9", "x" * 70_000]
)
async def test_any_text_is_no_token(idp: OidcProvider, token: str) -> None:
    keys = httpx2.get(f"{idp.url}/keys").content
    given: dict[str, Any] = {"issuer": idp.url, "client_id": CLIENT_ID, "nonce": "n", "now": 0.0}
    with pytest.raises((SignInRefused, id_token.UnknownSigner)):
        id_token.verified_claims(token, keys, **given)
