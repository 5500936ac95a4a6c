"""People sign in at the operator's OpenID Connect provider, and do what their role lets them."""

import time
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from tests.fakes.offline_server import OfflineServer
from tests.fakes.oidc_provider import CLIENT_ID, CLIENT_SECRET, OidcProvider, oidc_provider
from tests.fakes.running_gateway import RunningGateway, running_gateway, until

ANN = "ann@example.com"


@pytest.fixture(scope="module")
def listening() -> Iterator[OidcProvider]:
    with oidc_provider() as provider:
        yield provider


@pytest.fixture
def provider(listening: OidcProvider) -> OidcProvider:
    listening.reset()
    return listening


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, listening: OidcProvider, upstream: OfflineServer
) -> Iterator[RunningGateway]:
    environment = {
        "GATEWAY_OIDC_ISSUER": listening.url,
        "GATEWAY_OIDC_CLIENT_ID": CLIENT_ID,
        "GATEWAY_OIDC_CLIENT_SECRET": "env:SIGN_IN_SECRET",
        "SIGN_IN_SECRET": CLIENT_SECRET,
    }
    folder = tmp_path_factory.mktemp("sign-in")
    with running_gateway(folder, upstream.base_url, environment=environment, is_started=False) as running:
        running.environment["GATEWAY_PUBLIC_URL"] = running.url
        running.start()
        for team in ("blue", "red"):
            running.team(team)
        running.admin("POST", "/admin/members", {"email": "Ann@Example.com", "role": "team_owner", "team": "red"})
        with httpx2.Client(base_url=running.url) as first:
            until(lambda: sign_in(first).status_code == 303, what="a member")
        yield running


@pytest.fixture
def browser(gateway: RunningGateway) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=gateway.url, timeout=10) as client:
        yield client


def sign_in(browser: httpx2.Client, path: str = "/auth/login") -> httpx2.Response:
    """What the gateway says at the end of the way there and back."""
    begun = browser.get(path)
    assert begun.status_code == 303, begun.text
    consented = httpx2.get(begun.headers["location"])
    assert consented.status_code == 302, consented.text
    return browser.get(consented.headers["location"])


def signed_in(browser: httpx2.Client) -> httpx2.Client:
    reply = sign_in(browser)
    assert reply.status_code == 303, reply.text
    return browser


def test_a_member_signs_in_and_acts_within_their_role(
    gateway: RunningGateway, provider: OidcProvider, browser: httpx2.Client
) -> None:
    reply = sign_in(browser, "/auth/login?goes_to=/schema")
    assert (reply.status_code, reply.headers["location"]) == (303, "/schema")
    me = browser.get("/auth/me").json()
    assert (me["email"], me["roles"]) == (ANN, [{"role": "team_owner", "team": "red"}])
    assert me["ends_at"] == pytest.approx(time.time() + 8 * 3600, abs=60)
    assert [team["name"] for team in browser.get("/admin/teams").json()] == ["red"]
    ours = {"x-requested-with": "switchyard"}
    made = browser.post("/admin/keys", json={"team": "red", "name": "hers"}, headers=ours)
    assert made.status_code == 201, made.text
    assert browser.post("/admin/keys", json={"team": "blue", "name": "x"}, headers=ours).status_code == 403
    assert browser.put("/admin/teams/red/budget", json={"monthly_budget_usd": "1"}, headers=ours).status_code == 403
    [event] = gateway.admin("GET", f"/admin/audit?subject=key:{made.json()['info']['id']}")
    assert (event["actor"], event["action"]) == (f"oidc:{ANN}", "key.create")


def test_a_role_in_one_team_says_nothing_of_another(
    gateway: RunningGateway, provider: OidcProvider, browser: httpx2.Client
) -> None:
    """An owner here who may look there makes no keys there."""
    provider.email = "both@example.com"
    for role, team in (("team_owner", "red"), ("team_viewer", "blue")):
        gateway.admin("POST", "/admin/members", {"email": provider.email, "role": role, "team": team})
    until(lambda: sign_in(browser).status_code == 303, 2, what="a member")
    ours = {"x-requested-with": "switchyard"}
    assert {team["name"] for team in browser.get("/admin/teams").json()} == {"blue", "red"}
    assert browser.post("/admin/keys", json={"team": "red", "name": "x"}, headers=ours).status_code == 201
    assert browser.post("/admin/keys", json={"team": "blue", "name": "x"}, headers=ours).status_code == 403
    blue = gateway.admin("POST", "/admin/keys", {"team": "blue", "name": "theirs"})["info"]["id"]
    assert browser.delete(f"/admin/keys/{blue}", headers=ours).status_code == 404
    assert browser.get("/admin/usage?team=blue").status_code == 200
    assert browser.get("/admin/usage?team=green").status_code == 403
    untold = browser.get("/admin/usage")
    assert (untold.status_code, untold.json()["error"]["param"]) == (400, "team")
    assert browser.get("/admin/audit").status_code == 403


def test_a_session_opens_no_models(provider: OidcProvider, browser: httpx2.Client) -> None:
    assert signed_in(browser).get("/v1/models").status_code == 401


def test_a_member_who_is_removed_is_out_within_a_second_whatever_the_cookie(
    gateway: RunningGateway, provider: OidcProvider, browser: httpx2.Client
) -> None:
    gateway.admin("POST", "/admin/members", {"email": "bob@example.com", "role": "admin"})
    provider.email = "Bob@example.com"
    until(lambda: sign_in(browser).status_code == 303, 2, what="a member")
    assert browser.get("/admin/audit").status_code == 200
    gateway.admin("DELETE", "/admin/members/bob@example.com")
    until(lambda: browser.get("/admin/audit").status_code == 403, 2, what="a member who is none any more")
    assert browser.get("/auth/me").status_code == 403
    assert sign_in(browser).status_code == 403


def test_signing_out_forgets_the_session(provider: OidcProvider, browser: httpx2.Client) -> None:
    signed_in(browser)
    assert browser.post("/auth/logout").status_code == 403, "another site's page could do that"
    assert browser.post("/auth/logout", headers={"x-requested-with": "x"}).status_code == 204
    assert browser.get("/auth/me").status_code == 401
    assert browser.get("/admin/teams").status_code == 401


def test_cookies_are_for_our_own_pages_and_no_script(provider: OidcProvider, browser: httpx2.Client) -> None:
    set_cookies = browser.get("/auth/login").headers.get_list("set-cookie")
    set_cookies += sign_in(browser).headers.get_list("set-cookie")
    assert len(set_cookies) == 3
    for cookie in set_cookies:
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert ANN not in cookie


@pytest.mark.parametrize("origin", [None, "https://evil.example", "null", "http://127.0.0.1:1", "http://[", ""])
def test_another_sites_page_changes_nothing(provider: OidcProvider, browser: httpx2.Client, origin: str | None) -> None:
    headers = {} if origin is None else {"origin": origin}
    reply = signed_in(browser).post("/admin/keys", json={"team": "red", "name": "stolen"}, headers=headers)
    assert reply.status_code == 403


def test_our_own_page_may_change_things(
    gateway: RunningGateway, provider: OidcProvider, browser: httpx2.Client
) -> None:
    reply = signed_in(browser).post("/admin/keys", json={"team": "red", "name": "own"}, headers={"origin": gateway.url})
    assert reply.status_code == 201


BAD_TOKENS = {
    "another issuer": {"iss": "https://evil.example"},
    "another audience": {"aud": "somebody-else"},
    "no audience": {"aud": None},
    "two audiences and no party": {"aud": [CLIENT_ID, "other"]},
    "made for another party": {"aud": [CLIENT_ID, "other"], "azp": "other"},
    "ended": {"exp": int(time.time()) - 120},
    "without an end": {"exp": None},
    "not yet": {"nbf": int(time.time()) + 3600},
    "made in the future": {"iat": int(time.time()) + 3600},
    "another nonce": {"nonce": "another"},
    "no nonce": {"nonce": None},
    "nobody": {"sub": None},
}


@pytest.mark.parametrize("claims", BAD_TOKENS.values(), ids=BAD_TOKENS.keys())
def test_a_token_that_is_not_for_this_sign_in_is_refused(
    provider: OidcProvider, browser: httpx2.Client, claims: dict[str, object]
) -> None:
    provider.claims = claims
    reply = sign_in(browser)
    assert (reply.status_code, reply.json()["error"]["code"]) == (401, "sign_in_refused")
    assert browser.get("/auth/me").status_code == 401


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_a_token_that_anybody_could_sign_is_refused(
    provider: OidcProvider, browser: httpx2.Client, algorithm: str
) -> None:
    provider.algorithm = algorithm
    assert sign_in(browser).status_code == 401


@pytest.mark.parametrize("algorithm", ["RS512", "PS256"])
def test_other_signatures_by_a_key_of_the_provider_are_good(
    provider: OidcProvider, browser: httpx2.Client, algorithm: str
) -> None:
    provider.algorithm = algorithm
    assert sign_in(browser).status_code == 303


def test_clocks_may_differ_by_a_minute(provider: OidcProvider, browser: httpx2.Client) -> None:
    provider.claims = {"exp": int(time.time()) - 20, "iat": int(time.time()) + 20, "nbf": int(time.time()) + 20}
    assert sign_in(browser).status_code == 303


@pytest.mark.parametrize(
    "claims", [{"email_verified": False}, {"email_verified": None}, {"email": ""}, {"email": 7}, {"email_verified": 1}]
)
def test_an_address_that_nobody_has_verified_is_nobodys(
    provider: OidcProvider, browser: httpx2.Client, claims: dict[str, object]
) -> None:
    provider.claims = claims
    assert sign_in(browser).status_code == 403


def test_an_address_that_only_the_userinfo_has_is_taken_from_there(
    provider: OidcProvider, browser: httpx2.Client
) -> None:
    provider.claims = {"email": None, "email_verified": None}
    provider.userinfo = {"sub": "ann-1", "email": ANN, "email_verified": True}
    assert sign_in(browser).status_code == 303
    provider.userinfo = {"sub": "somebody-else", "email": ANN, "email_verified": True}
    assert sign_in(browser).status_code == 401


def test_who_is_no_member_gets_no_session(provider: OidcProvider, browser: httpx2.Client) -> None:
    provider.email = "eve@example.com"
    reply = sign_in(browser)
    assert reply.status_code == 403
    assert "gateway members add" in reply.json()["error"]["message"]
    assert browser.get("/auth/me").status_code == 401


def test_an_answer_that_began_in_no_browser_or_another_one_is_refused(
    gateway: RunningGateway, provider: OidcProvider, browser: httpx2.Client
) -> None:
    """Or somebody could have a victim's browser sign in as somebody else."""
    location = browser.get("/auth/login").headers["location"]
    answer = httpx2.get(location).headers["location"]
    with httpx2.Client(base_url=gateway.url) as victim:
        assert victim.get(answer).status_code == 400
        victim.get("/auth/login")
        assert victim.get(answer).status_code == 400
    for forged in ("state=x", "state=%C3%A9", "state=%ED%A0%80", "other="):
        assert browser.get(answer.replace("state=", forged)).status_code == 400
    assert browser.get("/auth/callback").status_code == 400
    assert browser.get(answer).status_code == 303
    assert browser.get(answer).status_code == 400, "an answer serves once"


def test_a_code_that_was_used_is_no_fault_of_the_provider(provider: OidcProvider, browser: httpx2.Client) -> None:
    answer = httpx2.get(browser.get("/auth/login").headers["location"]).headers["location"]
    kept = dict(browser.cookies)
    assert browser.get(answer).status_code == 303
    reply = browser.get(answer, headers={"cookie": "; ".join(f"{name}={value}" for name, value in kept.items())})
    assert reply.status_code == 401


def test_an_answer_of_another_provider_is_refused(provider: OidcProvider, browser: httpx2.Client) -> None:
    answer = httpx2.get(browser.get("/auth/login").headers["location"]).headers["location"]
    mixed_up = answer.partition("&iss=")[0] + "&iss=https://evil.example"
    assert browser.get(mixed_up).status_code == 401


def test_a_refusal_at_the_provider_is_told(provider: OidcProvider, browser: httpx2.Client) -> None:
    provider.refuses = "access_denied"
    reply = sign_in(browser)
    assert reply.status_code == 401
    assert "access_denied" in reply.json()["error"]["message"]
    provider.refuses = "<script>"
    assert "script" not in sign_in(browser).text


def test_a_provider_that_changes_its_keys_is_asked_for_them_and_not_too_often(
    gateway: RunningGateway, provider: OidcProvider, browser: httpx2.Client
) -> None:
    """Whoever sends tokens with made-up key ids has the provider asked once in ten seconds, and not for each."""
    assert sign_in(browser).status_code == 303
    provider.rotate()
    until(lambda: sign_in(browser).status_code == 303, 15, what="a token by the new key")
    provider.rotate(is_listed=False)
    before = provider.asked["/keys"]
    assert [sign_in(browser).status_code for _ in range(5)] == [401] * 5
    assert provider.asked["/keys"] - before <= 1
    provider.list_signer()
    until(lambda: sign_in(browser).status_code == 303, 15, what="a token by the listed key")


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example", "//evil.example", "/%2Fevil.example", "/\\evil.example", "evil", "/a\r\nb"]
)
def test_nobody_is_sent_elsewhere_after_signing_in(
    provider: OidcProvider, browser: httpx2.Client, elsewhere: str
) -> None:
    assert browser.get("/auth/login", params={"goes_to": elsewhere}).status_code == 400


def test_the_provider_is_asked_for_a_code_with_a_challenge(provider: OidcProvider, browser: httpx2.Client) -> None:
    asked = parse_qs(urlsplit(browser.get("/auth/login").headers["location"]).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["scope"] == ["openid email"]
    assert all(len(asked[name][0]) >= 43 for name in ("state", "nonce", "code_challenge"))


def test_forged_sessions_are_none(gateway: RunningGateway, provider: OidcProvider, browser: httpx2.Client) -> None:
    signed_in(browser)
    good = browser.cookies["switchyard_session"]
    under_way = httpx2.get(f"{gateway.url}/auth/login").cookies["switchyard_sign_in"]
    for forged in ("", "x", good[:-2], "A" + good[1:], good + "A", under_way, "%00", "\u00e9".encode().hex()):
        headers = {"cookie": f"switchyard_session={forged}"}
        assert httpx2.get(f"{gateway.url}/admin/teams", headers=headers).status_code == 401, forged
    assert httpx2.get(f"{gateway.url}/admin/teams", headers={"cookie": f"switchyard_session={good}"}).status_code == 200


def test_without_a_provider_nobody_signs_in(tmp_path_factory: pytest.TempPathFactory, upstream: OfflineServer) -> None:
    folder = tmp_path_factory.mktemp("alone")
    with running_gateway(folder, upstream.base_url) as alone:
        for method, path in (
            ("GET", "/auth/login"),
            ("GET", "/auth/callback"),
            ("GET", "/auth/me"),
            ("POST", "/auth/logout"),
        ):
            assert alone.http.request(method, path).status_code == 404
