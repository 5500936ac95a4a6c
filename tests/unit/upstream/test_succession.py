import pytest
from msgspec.structs import replace

from gateway.core.decision import Arm, CallLimits
from gateway.upstream.succession import REMEMBERED_SECONDS, Gone, says_gone
from tests.fakes.scripted_transport import Says
from tests.fakes.sending import FIRST, SECOND, Stage, body_of, status_of

SUCCESSOR = Arm(path="direct", upstream="main", model="base", successor_of="tone")
TUNED = Arm(path="fine_tuned", upstream="main", model="ft:base:acme", line="tone", version=2, successor=SUCCESSOR)
CANARY = Arm(path="fine_tuned", upstream="main", model="ft:base:new", line="tone", version=3, is_canary=True)
GONE = b'{"error":{"message":"No.","type":"invalid_request_error","param":"model","code":"model_not_found"}}'
AZURE = b'{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist."}}'


@pytest.mark.parametrize(("status", "body"), [(404, GONE), (400, GONE), (404, AZURE), (410, GONE)])
async def test_a_model_that_is_gone_is_followed_by_its_successor(status: int, body: bytes) -> None:
    stage = Stage(Says(status, body), Says(200, b"{}"), Says(200, b"{}"))
    sent = await stage.send(TUNED)
    assert sent.prepared.arm is SUCCESSOR
    assert stage.book.told == ["start ft:base:acme", f"fail {status}", "start base"]
    again = await stage.send(TUNED)
    assert again.prepared.arm is SUCCESSOR
    assert len(stage.bodies) == 3, "the dead model is not asked again"


async def test_a_successor_answers_though_the_rule_allows_one_attempt() -> None:
    stage = Stage(Says(404, GONE), Says(200, b"{}"))
    sent = await stage.send(TUNED, limits=CallLimits(attempts=1))
    assert sent.prepared.arm is SUCCESSOR


async def test_behind_a_successor_that_fails_stand_the_rules_fallbacks() -> None:
    stage = Stage(Says(404, GONE), Says(503), Says(200, b"{}"), attempts=1)
    sent = await stage.send(TUNED, SECOND)
    assert sent.prepared.arm is SECOND


@pytest.mark.parametrize(
    ("status", "body"),
    [(404, b"<html>not here</html>"), (404, b'{"detail":"Not Found"}'), (400, b'{"error":{"code":"context_length"}}')],
)
async def test_another_refusal_is_the_callers(status: int, body: bytes) -> None:
    stage = Stage(Says(status, body))
    sent = await stage.send(TUNED)
    assert status_of(sent) == status
    assert await body_of(sent) == body
    assert not stage.sender.gone.knows(TUNED)


async def test_without_a_successor_the_providers_word_is_the_callers() -> None:
    stage = Stage(Says(404, GONE))
    assert status_of(await stage.send(replace(TUNED, successor=None))) == 404


async def test_a_base_model_that_is_not_there_has_no_successor() -> None:
    stage = Stage(Says(404, GONE))
    assert status_of(await stage.send(FIRST)) == 404
    assert not stage.sender.gone.knows(FIRST)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 500])
async def test_what_is_on_trial_costs_no_call_whatever_it_says(status: int) -> None:
    stage = Stage(Says(status, b"{}"), Says(200, b"{}"), attempts=1)
    sent = await stage.send(CANARY, TUNED)
    assert sent.prepared.arm is TUNED


async def test_a_canary_alone_gives_what_it_says() -> None:
    stage = Stage(Says(500, b"{}"), attempts=1)
    assert status_of(await stage.send(CANARY)) == 500


async def test_a_ring_of_dead_models_ends() -> None:
    inner = replace(TUNED, model="ft:base:b", line="other", successor=None, successor_of="tone")
    stage = Stage(Says(404, GONE), Says(404, GONE))
    assert status_of(await stage.send(replace(TUNED, successor=inner))) == 404


def test_it_is_remembered_for_some_minutes() -> None:
    now = [100.0]
    gone = Gone(lambda: now[0])
    assert not gone.knows(TUNED)
    assert gone.told(TUNED, 404, GONE)
    assert gone.knows(TUNED)
    assert not gone.knows(CANARY)
    now[0] += REMEMBERED_SECONDS
    assert not gone.knows(TUNED)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'"model_not_found"', b'{"error":"model_not_found"}', b"\xff", b"[" * 99_999]
)
def test_what_cannot_be_read_says_nothing(body: bytes) -> None:
    assert not says_gone(404, body)


def test_a_failure_is_never_a_model_that_is_gone() -> None:
    assert not says_gone(500, GONE)
    assert not says_gone(401, GONE)
