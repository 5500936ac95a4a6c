import pytest

from gateway.core.errors import BadConfiguration
from gateway.policy.routing_file import CONDITIONS
from tests.fakes.calls import HELLO, SUPPORT, facts, read
from tests.fakes.rulebook import held, rule


def test_holds_when_every_named_header_has_its_value() -> None:
    call = read(HELLO, headers=((b"x-channel", b"email"), (b"x-desk", b"3")))
    assert held("header: {X-Channel: email, x-desk: '3'}", call), "names in any case"
    assert not held("header: {x-channel: email, x-desk: '4'}", call)
    assert not held("header: {x-channel: Email}", call), "values exactly"
    assert not held("header: {x-absent: ''}", call)


def test_a_trace_names_headers_and_never_their_values() -> None:
    call = read(HELLO, headers=((b"x-desk", b"secret"), (b"x-other", b"secret")))
    told = CONDITIONS["header"].observed(rule("header: {x-desk: '3'}").policy.seen(call, SUPPORT, facts()))
    assert told == ["x-desk"]


@pytest.mark.parametrize("name", ["authorization", "Cookie", "x-api-key"])
def test_a_header_that_carries_credentials_is_never_looked_at(name: str) -> None:
    """What rules look at is recorded with each decision."""
    with pytest.raises(BadConfiguration, match="credentials"):
        rule(f"header: {{{name}: x}}")
