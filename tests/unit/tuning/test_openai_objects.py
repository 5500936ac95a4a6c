import pytest

from gateway.core.errors import UpstreamFailed
from gateway.tuning.openai_objects import Event, Point, happened, numbers, read, saved
from gateway.tuning.trainers.openai_api import JobFound


def test_a_job_that_did_not_fail_may_have_an_error_of_nulls() -> None:
    job = read(b'{"id":"ftjob-1","status":"succeeded","error":{"code":null,"message":null,"param":null}}', JobFound)
    assert (job.status, job.error.message) == ("succeeded", None)


def test_an_event_keeps_its_numbers_only_when_it_is_of_metrics() -> None:
    told = read(
        b'{"id":"e","created_at":5,"level":"odd","message":"m","type":"metrics","data":{"step":1,"x":"y"}}', Event
    )
    assert (happened(3, told).level, happened(3, told).data) == ("info", (("step", 1.0),))
    plain = read(b'{"id":"e","message":"m","type":null,"data":{"step":1}}', Event)
    assert (happened(0, plain).kind, happened(0, plain).data) == ("message", ())


def test_a_checkpoint_may_have_no_metrics() -> None:
    point = read(b'{"id":"c","step_number":7,"fine_tuned_model_checkpoint":"ft:x","metrics":null}', Point)
    assert (saved(1, point).step, saved(1, point).metrics) == (7, ())
    assert numbers({"a": True, "b": 2}) == (("b", 2.0),)


def test_what_is_no_such_object_is_the_providers_fault() -> None:
    with pytest.raises(UpstreamFailed):
        read(b"[]", JobFound)
