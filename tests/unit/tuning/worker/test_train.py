"""The worker end to end: what it leaves behind; the same for the same seed, whatever happens meanwhile."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.tuning.worker.events import read_events
from gateway.tuning.worker.folder import Folder, read_published
from gateway.tuning.worker.job import BaseModel, Job, State
from tests.fakes.trainers import EPOCHS, QUESTIONS, TINY_RATE, chats

ROOT = Path(__file__).parents[4]
ROWS = len(QUESTIONS)


def job(folder: Folder, tiny: Path, training: bytes, **changed: object) -> Folder:
    folder.path.mkdir(parents=True)
    folder.training.write_bytes(training)
    fields: dict[str, object] = {
        "id": folder.path.name,
        "name": f"ft:tiny:support::{folder.path.name}",
        "model": "tiny",
        "base": BaseModel(str(tiny), learning_rate=TINY_RATE),
        "method": "supervised",
        "seed": 7,
        "at": 1.0,
        "hyperparameters": (("n_epochs", EPOCHS), ("batch_size", 1)),
    }
    folder.write_job(Job(**(fields | changed)))  # type: ignore[arg-type]  # as a test has it
    return folder


def begin(folder: Folder) -> "subprocess.Popen[bytes]":
    path = os.pathsep.join([str(ROOT), *(entry for entry in sys.path if entry)])
    command = [sys.executable, "-m", "gateway.tuning.worker", "train", "--job", str(folder.path)]
    with folder.log.open("ab") as log:
        return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, stdout=log, stderr=log)


def work(folder: Folder) -> Folder:
    """Works to the end, in this process: loading torch takes longer than a tiny model."""
    train = pytest.importorskip("gateway.tuning.worker.train", reason="training needs the extra `train`").train
    assert train(folder) == 0
    return folder


def until(process: "subprocess.Popen[bytes]", holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        assert process.poll() is None, "the worker ended before"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def steps(folder: Folder) -> list[int]:
    return [int(dict(event.data)["step"]) for event in read_events(folder.events, 0) if event.kind == "metrics"]


def losses(folder: Folder) -> list[float]:
    events = read_events(folder.events, 0)
    return [dict(event.data)["train_loss"] for event in events if event.kind == "metrics"]


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A job that was worked on without a break."""
    folder = job(Folder(tmp_path_factory.mktemp("jobs") / "ftjob-whole"), tiny_model, chats())
    folder.validation.write_bytes(chats())
    return work(folder)


def test_a_worker_leaves_an_adapter_checkpoints_events_and_results(trained: Folder) -> None:
    state = trained.state()
    assert state.status == "succeeded"
    assert (state.step, state.total_steps) == (EPOCHS * ROWS, EPOCHS * ROWS)
    assert state.seconds > 0
    assert steps(trained) == list(range(1, EPOCHS * ROWS + 1))
    assert losses(trained)[-1] < losses(trained)[0] / 3
    kept = [(EPOCHS - back) * ROWS for back in (2, 1, 0)]
    assert [saved.step for saved in trained.saved()] == kept
    assert {path.name for path in trained.checkpoints.iterdir()} == {str(step) for step in kept}
    for place in (trained.adapter, *(trained.checkpoint(step) for step in kept)):
        config = json.loads((place / "adapter_config.json").read_text())
        assert config["peft_type"] == "LORA"
        assert (place / "adapter_model.safetensors").stat().st_size
    metrics = dict(trained.saved()[-1].metrics)
    assert {"train_mean_token_accuracy", "valid_loss", "full_valid_mean_token_accuracy"} <= metrics.keys()
    header, *rows = trained.results.read_text().splitlines()
    assert header == "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"
    assert len(rows) == EPOCHS * ROWS
    names = {saved.model for saved in trained.saved()} | {"ft:tiny:support::ftjob-whole"}
    assert read_published(trained.path.parent).keys() == names
    assert not trained.resume.exists()


def test_the_same_seed_gives_the_same_adapter_and_another_seed_another(
    trained: Folder, tiny_model: Path, tmp_path: Path
) -> None:
    same = work(job(Folder(tmp_path / "ftjob-same"), tiny_model, chats()))
    other = work(job(Folder(tmp_path / "ftjob-other"), tiny_model, chats(), seed=8))
    assert same.state().adapter_sha256 == trained.state().adapter_sha256
    assert losses(same) == losses(trained)
    assert other.state().adapter_sha256 != trained.state().adapter_sha256


def test_a_job_whose_worker_is_killed_and_told_to_end_comes_to_the_same_with_each_event_once(
    trained: Folder, tiny_model: Path, tmp_path: Path
) -> None:
    folder = job(Folder(tmp_path / "ftjob-killed"), tiny_model, chats())
    for sign, after in ((signal.SIGKILL, 8), (signal.SIGTERM, 24)):
        worker = begin(folder)
        until(worker, lambda after=after: len(steps(folder)) >= after)  # type: ignore[misc]  # mypy knows no default
        worker.send_signal(sign)
        worker.wait(timeout=60)
        assert folder.state().status == ("running" if sign is signal.SIGKILL else "queued")
    work(folder)
    assert folder.state().adapter_sha256 == trained.state().adapter_sha256
    assert steps(folder) == list(range(1, EPOCHS * ROWS + 1))
    assert losses(folder) == losses(trained)
    assert [event.number for event in read_events(folder.events, 0)] == list(range(len(read_events(folder.events, 0))))
    assert folder.results.read_text().count("\n") == EPOCHS * ROWS + 1


def test_one_job_has_one_worker(tiny_model: Path, tmp_path: Path) -> None:
    """Whoever starts a second one, because it does not know of the first, changes nothing."""
    folder = job(Folder(tmp_path / "ftjob-two"), tiny_model, chats())
    with folder.held() as is_ours:
        assert is_ours
        assert folder.is_held()
        work(folder)
    assert not folder.is_held()
    assert folder.state() == State()
    assert not folder.events.exists()


def test_preferences_are_learnt(tiny_model: Path, tmp_path: Path) -> None:
    def answer(text: str) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": text}]

    rows = b"".join(
        json.dumps(
            {
                "input": {"messages": [{"role": "user", "content": asked}]},
                "preferred_output": answer(better),
                "non_preferred_output": answer("I do not know."),
            }
        ).encode()
        + b"\n"
        for asked, better in QUESTIONS.items()
    )
    folder = job(Folder(tmp_path / "ftjob-dpo"), tiny_model, rows, method="dpo")
    folder.validation.write_bytes(rows)
    work(folder)
    assert folder.state().status == "succeeded"
    assert dict(folder.state().hyperparameters)["beta"] == 0.1
    events = [dict(event.data) for event in read_events(folder.events, 0) if event.kind == "metrics"]
    assert events[0]["train_loss"] == pytest.approx(0.6931, abs=1e-3)  # it does not yet differ from its base
    assert events[-1]["train_loss"] < 0.1
    assert events[-1]["full_valid_accuracy"] == 1.0


def test_a_tuned_model_is_tuned_further(trained: Folder, tiny_model: Path) -> None:
    folder = Folder(trained.path.parent / "ftjob-further")
    path = trained.adapter.relative_to(trained.path.parent).as_posix()
    job(folder, tiny_model, chats(), adapter=path, hyperparameters=(("n_epochs", 1), ("batch_size", 1)))
    work(folder)
    assert losses(folder)[0] < losses(trained)[0] / 2


def test_a_faulty_validation_file_fails_the_job_before_a_step_is_made(tiny_model: Path, tmp_path: Path) -> None:
    folder = job(Folder(tmp_path / "ftjob-valid"), tiny_model, chats())
    folder.validation.write_bytes(b"[]\n")
    state = work(folder).state()
    assert state.error is not None
    assert (state.error[0], state.error[2]) == ("invalid_validation_file", "validation_file")
    assert steps(folder) == []


def test_a_loss_that_is_no_number_fails_the_job(tiny_model: Path, tmp_path: Path) -> None:
    rate = (("n_epochs", 25), ("batch_size", 1), ("learning_rate_multiplier", 10_000.0))
    base = BaseModel(str(tiny_model), learning_rate=1e30, saved=("lm_head",))
    state = work(job(Folder(tmp_path / "ftjob-nan"), tiny_model, chats(), base=base, hyperparameters=rate)).state()
    assert state.error is not None
    assert (state.error[0], state.error[2]) == ("training_diverged", "hyperparameters")


@pytest.mark.parametrize(
    ("training", "changed", "code", "says"),
    [
        (b"", {}, "invalid_training_file", ["no examples"]),
        (
            b'[1]\n{"messages": []}\n{"messages": [{"role": "user", "content": "?"}]}\n',
            {},
            "invalid_training_file",
            ["Line 1", "Line 2", "Line 3"],
        ),
        (
            chats(("long " * 600, "answer"), ("short", "answer"), ("long " * 700, "answer")),
            {},
            "invalid_training_file",
            ["Line 1", "Line 3", "cut off"],
        ),
        (chats(), {"base": BaseModel("/no/such/model")}, "model_not_loadable", ["base model cannot be loaded"]),
        (chats(), {"base": "odd"}, "model_not_loadable", ["adapter"]),
    ],
    ids=["empty", "faulty", "too long", "no model", "odd recipe"],
)
def test_what_cannot_be_trained_fails_with_its_reasons(
    tiny_model: Path, tmp_path: Path, training: bytes, changed: dict[str, object], code: str, says: list[str]
) -> None:
    if changed.get("base") == "odd":
        changed = {"base": BaseModel(str(tiny_model), targets=("no_such_layer",))}
    folder = work(job(Folder(tmp_path / "ftjob-faulty"), tiny_model, training, **changed))
    state = folder.state()
    assert state.status == "failed"
    assert state.error is not None
    assert state.error[0] == code
    assert all(text in state.error[1] for text in says), state.error[1]
    assert "Line 2" not in state.error[1] or "Line 2" in says
    assert "/no/such" not in state.error[1]
    assert read_events(folder.events, 0)[-1].level == "error"
