"""What an import brings is there once, whole, under its own ids, on both databases."""

import msgspec

from gateway.core.page import PageAsked
from gateway.core.stored_file import StoredFile
from gateway.db.engine import Database
from gateway.files.store import PART_BYTES, FileStore
from gateway.tuning.contract import Saved
from gateway.tuning.jobs.models.store import TunedModels
from gateway.tuning.jobs.store import Model, TuningJobs
from gateway.tuning.jobs.values import JobEvent, TuningJob

JOB = TuningJob(
    id="ftjob-theirs", team="support", key_id="", organisation="", trainer="main", serves_at="main", model="base",
    training_file="file-theirs", validation_file=None, suffix="", seed=1, method="supervised", hyperparameters="{}",
    grader="", integrations="[]", metadata='{"imported_from":"main"}', created_at=5.0, state="succeeded", events=2,
    tuned_model="ft:base:o::1", trained_tokens=7, ended_at=9.0, finished_at=9.0,
)  # fmt: skip
EVENTS = [JobEvent("ftjob-theirs", number, 5.0 + number, "info", f"event {number}") for number in range(2)]
POINTS = [Saved(0, 8.0, 10, "ft:base:o::1:ckpt-step-10", (("train_loss", 0.5),))]
MODELS = [Model(name, "support", "main", "base", "ftjob-theirs", 9.0) for name in ("ft:base:o::1", POINTS[0].model)]


async def test_a_job_is_brought_once_with_all_there_is_of_it(database: Database) -> None:
    jobs = TuningJobs(database)
    assert await jobs.imported(JOB, EVENTS, POINTS, MODELS)
    other = msgspec.structs.replace(JOB, team="thieves", events=0)
    assert not await jobs.imported(other, (), (), ())
    assert await jobs.find("ftjob-theirs") == JOB
    assert [event.message for event in (await jobs.events(JOB, 10, None)).items] == ["event 1", "event 0"]
    assert [point.model for point in (await jobs.checkpoints(JOB, 10, None)).items] == [POINTS[0].model]
    assert {(one.id, one.teams) for one in await TunedModels(database).allowed()} == {
        (model.id, ("support",)) for model in MODELS
    }
    assert await jobs.claim(1e12, 10.0, 10) == []
    assert [job.id for job in (await jobs.page("support", PageAsked())).items] == ["ftjob-theirs"]


async def test_a_file_is_kept_under_its_own_id_with_where_it_lies(database: Database) -> None:
    files = FileStore(database)
    content = b"x" * (PART_BYTES + 5)
    file = StoredFile("file-theirs", "support", "train.jsonl", "fine-tune", len(content), 5.0)
    assert await files.kept_of("main", "file-theirs") is None
    await files.put(file, content, ("main", "file-theirs"))
    assert await files.kept_of("main", "file-theirs") == file
    assert await files.kept_of("other", "file-theirs") is None
    assert await files.content(file) == content
    assert await files.copies("file-theirs") == {"main": "file-theirs"}


async def test_a_file_at_a_provider_is_its_teams_also_when_the_one_here_was_deleted(database: Database) -> None:
    files = FileStore(database)
    file = await files.add("support", "t.jsonl", "fine-tune", b"{}")
    await files.copied(file.id, "support", "main", "file-there")
    for _ in range(2):
        assert await files.of_others(("file-there", "file-unknown"), "strangers") == ["file-there"]
        assert await files.of_others(("file-there",), "support") == []
        assert await files.ours_at("main", ("file-there", "file-unknown")) == {"file-there"}
        await files.remove(file.id)
