import inspect

from gateway.core import errors
from gateway.core.errors import GatewayError

REFUSALS = [
    one
    for _, one in inspect.getmembers(errors, inspect.isclass)
    if issubclass(one, GatewayError) and one is not GatewayError
]


def test_each_reason_has_a_code_of_its_own() -> None:
    """It is the label `error_type` and what callers' programs compare."""
    codes = [one.code for one in REFUSALS]
    assert len(set(codes)) == len(codes)


def test_infrastructure_trouble_never_looks_like_the_callers_fault() -> None:
    """401, 403 and 429 send people looking at their own keys and limits."""
    ours = {one.code for one in REFUSALS if one.kind in {"server_error", "upstream_error"}}
    assert ours == {
        "upstream_failed",
        "upstream_timeout",
        "knowledge_unavailable",
        "accounting_unavailable",
        "budget_unverifiable",
        "draining",
        "not_ready",
    }
    assert all(one.status >= 500 for one in REFUSALS if one.code in ours)
    assert all(400 <= one.status < 500 for one in REFUSALS if one.code not in ours)


def test_a_spent_budget_asks_the_sdk_not_to_retry() -> None:
    assert [one.code for one in REFUSALS if one.should_retry is False] == ["insufficient_quota"]
