import pytest

from gateway.core.clock import Clock
from gateway.core.errors import BadConfiguration
from gateway.policy.models_file import UpstreamEntry
from gateway.upstream.breaker import FAILURES, State
from gateway.upstream.port import Deadlines, Origin
from gateway.upstream.upstreams import MAX_TARGETS, Upstream, Upstreams
from tests.fakes.scripted_transport import ScriptedTransport


def upstreams(**environment: str) -> Upstreams:
    return Upstreams({"http1": ScriptedTransport(), "httpx": ScriptedTransport()}, environment, Clock())


def built(environment: dict[str, str] | None = None, **fields: object) -> Upstream:
    entry = UpstreamEntry.model_validate({"base_url": "http://main.test/v1"} | fields)
    return upstreams(**environment or {}).build({"main": entry})["main"]


@pytest.mark.parametrize(
    ("base_url", "origin"),
    [
        ("http://main.test/v1", Origin("http", "main.test", 80, "/v1")),
        ("https://main.test:8443/a/b/", Origin("https", "main.test", 8443, "/a/b")),
        ("https://main.test", Origin("https", "main.test", 443)),
        ("http://[::1]:9/v1", Origin("http", "::1", 9, "/v1")),
        ("env:URL", Origin("https", "from.environment", 443, "/v1")),
        ("env:OTHER:-http://otherwise.test", Origin("http", "otherwise.test", 80)),
    ],
)
def test_an_address_is_taken_apart_once(base_url: str, origin: Origin) -> None:
    assert built({"URL": "https://from.environment/v1"}, base_url=base_url).origin == origin


def test_the_operators_credential_goes_upstream() -> None:
    assert built({"KEY": "sk-1"}, api_key="env:KEY").headers == ((b"authorization", b"Bearer sk-1"),)
    assert built(base_url="http://ann:b@main.test").headers == ((b"authorization", b"Basic YW5uOmI="),)
    assert built(headers={"OpenAI-Project": "p"}).headers == ((b"openai-project", b"p"),)


def test_every_secret_that_is_missing_is_named_at_once() -> None:
    entries = {
        "a": UpstreamEntry(base_url="env:A_URL"),
        "b": UpstreamEntry(base_url="http://b.test", api_key="env:B_KEY"),
    }
    with pytest.raises(BadConfiguration) as caught:
        upstreams().build(entries)
    told = str(caught.value)
    assert "A_URL" in told
    assert "B_KEY" in told


@pytest.mark.parametrize(
    "url",
    ["ftp://x", "main.test", "http://", "http://h:99999", "http://h:x", "http://h:0", "http://[::1", "http://ü/ü"],
)
def test_an_address_in_the_environment_that_cannot_be_is_bad_configuration(url: str) -> None:
    """It is checked only here: models.yaml names just the variable."""
    with pytest.raises(BadConfiguration, match="base_url must be"):
        built({"URL": url}, base_url="env:URL")


def test_deadlines_are_those_of_the_file() -> None:
    entry = {"connect": 1, "first_byte": 2, "between": 3, "total": 4}
    assert built(timeouts=entry).deadlines == Deadlines(1, 2, 3, 4)
    assert built(timeouts=entry | {"first_token": 5}).deadlines == Deadlines(1, 2, 3, 4, 5)


def test_what_an_upstream_taught_us_outlives_a_reload_that_left_it_alone() -> None:
    entry = UpstreamEntry(base_url="http://main.test")
    held = upstreams()
    held.replace(held.build({"main": entry}))
    held.named("main").takes_stream_options = False
    held.replace(held.build({"main": entry}))
    assert not held.named("main").takes_stream_options
    held.replace(held.build({"main": UpstreamEntry(base_url="http://other.test")}))
    assert held.named("main").takes_stream_options


def test_a_reload_is_no_way_to_more_retries() -> None:
    held = upstreams()
    held.replace(held.build({"main": UpstreamEntry(base_url="http://main.test")}))
    while held.named("main").retries.takes():
        pass
    held.replace(held.build({"main": UpstreamEntry(base_url="http://other.test")}))
    assert not held.named("main").retries.takes()


def test_an_upstream_is_as_well_as_its_worst_target() -> None:
    held = upstreams()
    held.replace(held.build({"main": UpstreamEntry(base_url="http://main.test")}))
    assert held.states() == {"main": State.CLOSED}
    for _ in range(FAILURES):
        held.breaker("main", "broken").failed(0)
    held.breaker("main", "well").succeeded(0)
    assert held.states() == {"main": State.OPEN}


def test_targets_that_callers_invent_do_not_grow_without_limit() -> None:
    held = upstreams()
    for number in range(MAX_TARGETS * 2):
        held.breaker("main", f"invented-{number}")
    assert len(held._breakers) <= MAX_TARGETS
