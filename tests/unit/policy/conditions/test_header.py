from gateway.policy.routing_file import CONDITIONS
from tests.fakes.calls import HELLO, SUPPORT, facts, read
from tests.fakes.rulebook import held


def test_holds_when_every_named_header_has_its_value() -> None:
    call = read(HELLO, headers=((b"x-channel", b"email"), (b"x-desk", b"3")))
    assert held("header: {X-Channel: email, x-desk: '3'}", call), "names in any case"
    assert not held("header: {x-channel: email, x-desk: '4'}", call)
    assert not held("header: {x-channel: Email}", call), "values exactly"
    assert not held("header: {x-absent: ''}", call)


def test_a_trace_names_headers_and_never_their_values() -> None:
    call = read(HELLO, headers=((b"authorization", b"Bearer sk-gw-secret"),))
    assert "secret" not in str(CONDITIONS["header"].observed(call, SUPPORT, facts()))
