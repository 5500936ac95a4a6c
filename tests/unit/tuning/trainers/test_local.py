"""The local trainer: turns, restarts of whoever started a worker, workers that die, and what they may know."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.core.errors import NotFound, UpstreamFailed
from gateway.tuning.contract import TrainerRefused
from gateway.tuning.trainers.local import LocalTrainer
from gateway.tuning.worker.folder import Folder, publish
from gateway.tuning.worker.job import BaseModel, Published
from gateway.tuning.worker.processes import running_process
from tests.fakes.trainers import EPOCHS, QUESTIONS, TINY_RATE, chats, ended, plan, source, watched

ROOT = Path(__file__).parents[4]
MANY = chats(*(list(QUESTIONS.items()) * 20))
STARTS = """
import asyncio, sys
from pathlib import Path
from gateway.tuning.trainers.local import LocalTrainer
from gateway.tuning.worker.job import BaseModel
from tests.fakes.trainers import TINY_RATE, chats, plan, source

async def main():
    trainer = LocalTrainer(Path(sys.argv[1]), {"tiny": BaseModel(sys.argv[2], learning_rate=TINY_RATE)})
    print(await trainer.start(plan("ftjob-left"), source(chats()), None), flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def local(root: Path, tiny: Path, **more: object) -> LocalTrainer:
    return LocalTrainer(root, {"tiny": BaseModel(str(tiny), learning_rate=TINY_RATE)}, **more)  # type: ignore[arg-type]  # as given


def script(path: Path, text: str) -> str:
    """An interpreter that does something else."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def no_model(folder: Path) -> Path:
    """What looks like a base model to whoever does not load it."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text("{}")
    return folder


async def test_the_others_wait_their_turn_and_a_pause_gives_it_to_the_next(tiny_model: Path, tmp_path: Path) -> None:
    trainer = local(tmp_path, tiny_model)
    long = plan("ftjob-1", hyperparameters=(("n_epochs", 50), ("batch_size", 1)))
    await trainer.start(long, source(MANY), None)
    await trainer.start(plan("ftjob-2"), source(chats()), None)
    await trainer.start(plan("ftjob-3"), source(chats()), None)
    await watched(trainer, "ftjob-1", lambda progress: progress.status == "running")
    assert (await trainer.watch("ftjob-2", 0)).status == "queued"
    await trainer.cancel("ftjob-3")
    assert (await trainer.watch("ftjob-3", 0)).status == "cancelled"
    await trainer.pause("ftjob-1")
    assert (await ended(trainer, "ftjob-2")).status == "succeeded"
    assert (await trainer.watch("ftjob-1", 0)).status == "paused"
    await trainer.resume("ftjob-1")
    await watched(trainer, "ftjob-1", lambda progress: progress.status == "running")
    await trainer.cancel("ftjob-1")
    assert (await ended(trainer, "ftjob-1")).status == "cancelled"


async def test_a_worker_outlives_whoever_started_it_and_the_next_one_finds_it(tiny_model: Path, tmp_path: Path) -> None:
    """`kill -9` of a gateway in the middle of a job: nothing is trained twice, and nothing that was said is lost."""
    path = os.pathsep.join([str(ROOT), *(entry for entry in sys.path if entry)])
    command = [sys.executable, "-c", STARTS, str(tmp_path), str(tiny_model)]
    process = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 60) == b"ftjob-left\n"
    folder = Folder(tmp_path / "ftjob-left")
    worker = running_process(folder.path / "worker.json")
    assert worker is not None
    process.send_signal(signal.SIGKILL)
    await process.wait()
    assert running_process(folder.path / "worker.json") == worker

    trainer = local(tmp_path, tiny_model)
    done = await ended(trainer, await trainer.start(plan("ftjob-left"), source(chats()), None))

    assert done.status == "succeeded"
    steps = [int(dict(event.data)["step"]) for event in done.events if event.kind == "metrics"]
    assert steps == list(range(1, EPOCHS * len(QUESTIONS) + 1))
    assert b"goes on" not in folder.events.read_bytes()
    assert folder.starts.read_bytes().count(b'"number":1') == 1


async def test_a_worker_that_is_killed_is_followed_by_another(tiny_model: Path, tmp_path: Path) -> None:
    trainer = local(tmp_path, tiny_model)
    reference = await trainer.start(plan("ftjob-1"), source(chats()), None)
    await watched(trainer, reference, lambda progress: sum(e.kind == "metrics" for e in progress.events) > 8)
    worker = running_process(tmp_path / "ftjob-1" / "worker.json")
    assert worker is not None
    os.kill(worker, signal.SIGKILL)
    done = await ended(trainer, reference)
    assert done.status == "succeeded"
    assert [event.number for event in done.events] == list(range(len(done.events)))
    steps = [int(dict(event.data)["step"]) for event in done.events if event.kind == "metrics"]
    assert steps == list(range(1, EPOCHS * len(QUESTIONS) + 1))


async def test_a_worker_that_always_dies_fails_the_job_with_its_last_words(tmp_path: Path) -> None:
    python = script(tmp_path / "python", "echo the disk is on fire >&2; exit 3")
    trainer = local(tmp_path / "jobs", no_model(tmp_path / "model"), python=python)
    done = await ended(trainer, await trainer.start(plan("ftjob-1"), source(chats()), None))
    assert done.status == "failed"
    assert done.error is not None
    assert done.error[0] == "worker_failed"
    assert "the disk is on fire" in done.error[1]
    assert done.events[-1].level == "error"
    assert (tmp_path / "jobs/ftjob-1/worker.log").read_text().count("on fire") == 3


async def test_a_worker_that_does_not_hear_is_ended(tmp_path: Path) -> None:
    python = script(tmp_path / "python", "trap '' TERM\nwhile true; do sleep 0.1; done")
    trainer = local(tmp_path / "jobs", no_model(tmp_path / "model"), python=python, cancel_seconds=0)
    reference = await trainer.start(plan("ftjob-1"), source(chats()), None)
    worker = running_process(tmp_path / "jobs/ftjob-1/worker.json")
    assert worker is not None
    await trainer.cancel(reference)
    assert (await ended(trainer, reference)).status == "cancelled"
    assert running_process(tmp_path / "jobs/ftjob-1/worker.json") is None


async def test_a_worker_is_told_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_ADMIN_KEY", "a-secret-of-the-gateway")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-a-provider")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    python = script(tmp_path / "python", "env; exit 1")
    trainer = local(tmp_path / "jobs", no_model(tmp_path / "model"), python=python)
    await ended(trainer, await trainer.start(plan("ftjob-1"), source(chats()), None))
    told = (tmp_path / "jobs/ftjob-1/worker.log").read_text()
    assert "CUDA_VISIBLE_DEVICES=0" in told
    assert "HF_HUB_OFFLINE=1" in told
    assert "secret" not in told
    assert "sk-of" not in told


def test_an_interpreter_without_the_libraries_is_a_fault_that_says_what_to_install(tmp_path: Path) -> None:
    bare = script(tmp_path / "python", f'exec "{sys.executable}" -I -S "$@"')
    model = no_model(tmp_path / "model")
    [fault] = local(tmp_path / "jobs", model, python=bare).faults(plan("ftjob-1"))
    assert "torch" in fault
    assert "pip install 'switchyard[train]'" in fault
    [fault] = local(tmp_path / "jobs", model, python=str(tmp_path / "nowhere")).faults(plan("ftjob-1"))
    assert "does not run" in fault


def test_a_base_model_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    faults = local(tmp_path / "jobs", tmp_path / "nowhere").faults(plan("ftjob-1"))
    assert any("config.json" in fault for fault in faults)


async def test_a_tuned_model_of_its_own_is_a_model_to_go_on_from(tmp_path: Path) -> None:
    """That the adapter is then really gone on from is a test of the worker."""
    trainer = local(tmp_path, no_model(tmp_path / "model"), python="true")
    model = "ft:tiny:support:tone:1"
    publish(tmp_path, Published(model, "tiny", str(tmp_path / "model"), "ftjob-1/adapter"))
    publish(tmp_path, Published("ft:other:support::1", "other", "elsewhere", "ftjob-0/adapter"))
    assert trainer.faults(plan("ftjob-3", "ft:other:support::1"))
    await trainer.start(plan("ftjob-2", model), source(chats()), None)
    job = Folder(tmp_path / "ftjob-2").job()
    assert job is not None
    assert (job.model, job.adapter, job.name) == ("tiny", "ftjob-1/adapter", "ft:tiny:support:tone:2")


async def test_a_job_whose_folder_is_gone_has_failed(tmp_path: Path) -> None:
    trainer = local(tmp_path / "jobs", no_model(tmp_path / "model"))
    lost = await trainer.watch("ftjob-1", 0)
    assert lost.status == "failed"
    assert lost.error is not None
    assert lost.error[0] == "job_lost"
    with pytest.raises(NotFound):
        await trainer.result("ftjob-1", "results.csv")
    await trainer.cancel("ftjob-1")
    await trainer.pause("ftjob-1")
    await trainer.resume("ftjob-1")


async def test_an_id_that_is_a_path_is_refused(tmp_path: Path) -> None:
    trainer = local(tmp_path / "jobs", no_model(tmp_path / "model"))
    for odd in ("../elsewhere", "a/b", "", "."):
        with pytest.raises(TrainerRefused):
            await trainer.start(plan(odd), source(chats()), None)
    assert not (tmp_path / "elsewhere").exists()


async def test_a_folder_that_cannot_be_used_is_trouble_that_passes(tmp_path: Path) -> None:
    """A disk that is full or away fails no job: whoever asks asks again."""
    trainer = local(tmp_path / "jobs", no_model(tmp_path / "model"), python="true")
    (tmp_path / "jobs").write_text("a file where the folder should be")
    with pytest.raises(UpstreamFailed):
        await trainer.start(plan("ftjob-1"), source(chats()), None)
    (tmp_path / "jobs").unlink()
    assert await trainer.start(plan("ftjob-1"), source(chats()), None) == "ftjob-1"
