"""A job's state follows from the clock."""

import pytest

from gateway.core.clock import Clock
from gateway.offline.exchange import Refusal
from gateway.offline.files import FileShelf
from gateway.offline.tuning import JobRequest, TuningFloor

FORM = '--X\r\nContent-Disposition: form-data; name="{}"{}\r\n\r\n{}\r\n'


class Floor:
    def __init__(self) -> None:
        self.now = 1_000.0
        self.files = FileShelf()
        self.tuning = TuningFloor(self.files, Clock(wall=lambda: self.now), 8.0)

    def upload(self, content: str) -> str:
        form = FORM.format("purpose", "", "fine-tune") + FORM.format("file", '; filename="t.jsonl"', content) + "--X--"
        return str(self.files.upload(form.encode(), "multipart/form-data; boundary=X")["id"])


def test_a_job_is_queued_then_running_then_succeeded() -> None:
    floor = Floor()
    made = floor.tuning.create(
        JobRequest(model="gpt-4o-mini-2024-07-18", training_file=floor.upload('{"a":1}\n' * 10), suffix="s")
    )
    seen = []
    for age in (0.0, 2.0, 7.9, 8.0):
        floor.now = 1_000.0 + age
        job = floor.tuning.job(made["id"])
        seen.append((job["status"], job["trained_tokens"]))
    assert seen == [("queued", None), ("running", None), ("running", None), ("succeeded", 7 * 10 * 3)]
    assert job["fine_tuned_model"].startswith("ft:gpt-4o-mini-2024-07-18:offline:s:")
    assert floor.tuning.tuned_models() == [job["fine_tuned_model"]]
    events = floor.tuning.events(made["id"], {"limit": "100"})["data"]
    assert [event["type"] for event in events].count("metrics") == 30
    assert len(events) == 34
    assert len(floor.tuning.checkpoints(made["id"], {})["data"]) == 3


@pytest.mark.parametrize("content", ['{"a":1}\n' * 9, "no json\n" * 20])
def test_a_file_that_cannot_be_used_fails_the_job(content: str) -> None:
    floor = Floor()
    made = floor.tuning.create(JobRequest(model="m", training_file=floor.upload(content)))
    floor.now += 9
    job = floor.tuning.job(made["id"])
    assert job["status"] == "failed"
    assert job["error"]["message"]
    assert job["fine_tuned_model"] is None


def test_a_job_can_be_cancelled_once() -> None:
    floor = Floor()
    made = floor.tuning.create(JobRequest(model="m", training_file=floor.upload('{"a":1}\n' * 10)))
    assert floor.tuning.cancel(made["id"])["status"] == "cancelled"
    with pytest.raises(Refusal):
        floor.tuning.cancel(made["id"])


def test_unknown_files_and_jobs_are_refused() -> None:
    floor = Floor()
    with pytest.raises(Refusal) as no_file:
        floor.tuning.create(JobRequest(model="m", training_file="file-none"))
    with pytest.raises(Refusal) as no_job:
        floor.tuning.job("ftjob-none")
    assert (no_file.value.status, no_job.value.status) == (400, 404)
