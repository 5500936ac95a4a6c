"""What providers do each in their own way, most of them speaking OpenAI's API."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway.core.errors import NotFound, UpstreamFailed
from gateway.policy.tuning_file import HostedTrainerEntry
from gateway.tuning.contract import Trainer, TrainerRefused
from gateway.tuning.trainers.azure import Azure
from gateway.tuning.trainers.openai_api import OpenaiApi
from gateway.tuning.trainers.together import Together
from tests.fakes.api_server import Answer, Asked, in_json
from tests.fakes.hosted_trainers import Answering, HostedMeans, azure, hosted, openai, together
from tests.fakes.trainers import QUESTIONS, chats, ended, plan, source

Makes = Callable[[HostedTrainerEntry, HostedMeans], Trainer]
SPOKEN: dict[str, tuple[Makes, Callable[[], Answering], str]] = {
    "openai_api": (OpenaiApi, openai, "/v1"),
    "azure": (Azure, azure, "/openai/v1"),
    "together": (Together, together, "/v1"),
}
ROWS = chats(*(list(QUESTIONS.items()) * 4))
LAST = "ftjob-marked"


def trainer(kind: str, means: HostedMeans) -> Trainer:
    return SPOKEN[kind][0](HostedTrainerEntry.model_validate({"kind": kind, "upstream": "there"}), means)


@pytest.mark.parametrize("status", [404, 405])
@pytest.mark.parametrize("kind", sorted(SPOKEN))
async def test_a_provider_without_events_and_checkpoints_is_followed_all_the_same(kind: str, status: int) -> None:
    _, made, prefix = SPOKEN[kind]
    api = made()

    def answer(asked: Asked) -> Answer:
        if asked.path.endswith(("/events", "/checkpoints")):
            return in_json({"error": {"message": "Unknown path."}}, status)
        return api(asked)

    async with hosted(answer, prefix) as (server, means):
        there = trainer(kind, means)
        reference = await there.start(plan(f"ftjob-bare-{status}", "gpt-4o-mini"), source(ROWS), None)
        done = await ended(there, reference)
        assert (done.status, done.events, done.checkpoints) == ("succeeded", (), ())
        assert done.tuned_model
        # Other refusals of theirs, and a refusal of the job itself, are what they always were.
        server.answer = lambda asked: in_json({}, 400) if asked.path.endswith("/events") else api(asked)
        with pytest.raises(TrainerRefused, match="400"):
            await there.watch(reference, 0)
        server.answer = lambda _asked: in_json({}, status)
        with pytest.raises(TrainerRefused, match=str(status)):
            await there.watch(reference, 0)


def pages(jobs: list[dict[str, Any]], *, knows_after: bool) -> Answering:
    """A provider that lists jobs a hundred at a time, without a filter."""

    def answer(asked: Asked) -> Answer:
        if asked.method == "POST":
            return in_json({"id": "ft-new"})
        ids = [job["id"] for job in jobs]
        start = ids.index(asked.one("after")) + 1 if knows_after and asked.one("after") else 0
        return in_json({"data": jobs[start : start + 100], "has_more": start + 100 < len(jobs)})

    return answer


@pytest.mark.parametrize("knows_after", [True, False])
async def test_a_job_of_ours_is_found_on_whatever_page_it_is(*, knows_after: bool) -> None:
    jobs: list[dict[str, Any]] = [{"id": f"ft-{number}", "metadata": None} for number in range(250)]
    jobs[-1]["metadata"] = {"switchyard_job": LAST}

    async with hosted(pages(jobs, knows_after=knows_after), "/v1") as (server, means):
        there = trainer("openai_api", means)
        reference = await there.start(plan(LAST), source(chats()), None)
        asked = [one for one in server.asked if one.method == "GET"]
        if knows_after:
            assert reference == "ft-249"
            assert [one.one("after") for one in asked] == ["", "ft-99", "ft-199"]
        else:
            # It gives the same page for ever: that is noticed.
            assert (reference, len(asked)) == ("ft-new", 2)
            made = next(one for one in server.asked if one.path.endswith("/jobs") and one.method == "POST")
            assert json.loads(made.body)["metadata"]["switchyard_job"] == LAST


async def test_a_result_file_that_is_refused_is_missing() -> None:
    """The model is there all the same."""
    async with hosted(openai(), "/v1") as (server, means):
        there = trainer("openai_api", means)
        server.first.append(in_json({}, 410))
        with pytest.raises(NotFound):
            await there.result("ft-1", "file-1")
        server.first.append(in_json({}, 403))
        with pytest.raises(UpstreamFailed):
            await there.result("ft-1", "file-1")
