import pytest

from gateway.upstream.error_event import is_failure


@pytest.mark.parametrize(
    "payload",
    [
        b'{"error":{"message":"The server had an error","type":"server_error","param":null,"code":null}}',
        b'{"error": {"message": "Overloaded", "code": 529}}',
        b'{"error": {"message": "Slow down", "code": "429"}}',
        b'{"error": {"message": "Internal", "status": 500}}',
        b'{"error":"out of memory"}',
        b'{"type":"error","code":"server_error","message":"x","param":null,"sequence_number":0}',
        b'{"type":"response.failed","response":{"error":{"code":"server_error","message":"x"}}}',
        b'{"type":"response.failed","response":{}}',
    ],
)
def test_an_upstream_that_says_error_first_has_failed(payload: bytes) -> None:
    assert is_failure(payload)


@pytest.mark.parametrize(
    "payload",
    [
        b'{"error":{"message":"This model has a context of 8192 tokens","type":"BadRequestError","code":400}}',
        b'{"error":{"message":"Unknown parameter","type":"invalid_request_error","code":"unknown_parameter"}}',
        b'{"type":"error","code":"x","message":"x","error":{"type":"invalid_request_error"}}',
    ],
)
def test_what_it_has_against_the_request_is_the_callers_to_hear(payload: bytes) -> None:
    """Another upstream would say the same, and this one is well."""
    assert not is_failure(payload)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[DONE]",
        b'{"error":null,"choices":[]}',
        b'{"choices":[{"delta":{"content":"an \\"error\\""}}]}',
        b'{"error":{"code":500},"choices":[{"delta":{"content":"so far"}}]}',
        b'{"type":"response.created","response":{"error":null}}',
        b'"error"',
        b'{"error":',
        b'["error"]',
    ],
)
def test_anything_else_is_an_answer(payload: bytes) -> None:
    assert not is_failure(payload)
