import json

from gateway.core.errors import BudgetExceeded, InvalidRequest
from gateway.wire.errors import error_body, error_event


def test_an_error_has_openais_four_keys() -> None:
    body = json.loads(error_body(InvalidRequest('No "x".', param="x")))
    assert body == {
        "error": {"message": 'No "x".', "type": "invalid_request_error", "param": "x", "code": "invalid_request"}
    }


def test_in_a_stream_it_is_one_event() -> None:
    """The official SDK raises on an event that has `error` at the top."""
    event = error_event(BudgetExceeded("Spent.\n\ndata: [DONE]"))
    assert event.startswith(b'data: {"error":')
    assert event.count(b"\n\n") == 1
