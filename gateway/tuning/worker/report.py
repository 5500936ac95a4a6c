"""What a worker says of its job: events, how far it is, checkpoints, and the file of results."""

import csv
import io
import time
from pathlib import Path
from typing import Literal

import msgspec

from gateway.tuning.contract import Happened, Numbers, Saved, Status
from gateway.tuning.worker.events import EventLog, read_events
from gateway.tuning.worker.folder import Folder, replace_file
from gateway.tuning.worker.hyperparameters import Hyperparameters
from gateway.tuning.worker.job import Job, checkpoint_name

# The state is for people and polls that come every few seconds; events are written one by one.
STATE_SECONDS = 1.0
MOST_METRICS = 1000
COLUMNS = ("step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy")


class JobFailed(Exception):
    """The job ends here, and its caller is told why: code, message, parameter."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


class Report:
    """The writer of one job's folder, for the time that this process holds its lock."""

    def __init__(self, folder: Folder, job: Job) -> None:
        self._folder = folder
        self._job = job
        self._log = EventLog(folder.events)
        self._state = folder.state()
        self._began = time.monotonic()
        self._before = self._state.seconds
        self._written = 0.0

    def begin(self, chosen: Hyperparameters, total_steps: int, tokens: int, step: int) -> None:
        """The files are read, and training begins or goes on after `step`. tokens: of all epochs."""
        self._change(
            status="running",
            step=step,
            total_steps=total_steps,
            trained_tokens=tokens,
            hyperparameters=chosen.listed(self._job.method),
        )
        if step:
            self.say(f"on:{len(self._log)}", f"Training goes on after step {step}/{total_steps}.")
        else:
            self.say("begun", f"Training begins: {total_steps} steps.")

    def say(self, key: str, message: str, level: Literal["info", "warn", "error"] = "info") -> None:
        """A message, told once under its key."""
        self._log.tell(key, Happened(0, time.time(), level, message))

    def step(self, step: int, total: int, numbers: Numbers) -> None:
        """A step is done. Of a long job not each one becomes an event, but each that was measured on other examples."""
        every = max(1, total // MOST_METRICS)
        if step % every == 0 or step == total or len(numbers) > 4:
            told = dict(numbers)
            valid = f", validation loss={told['valid_loss']:.4f}" if "valid_loss" in told else ""
            message = f"Step {step}/{total}: training loss={told['train_loss']:.4f}{valid}"
            self._log.tell(f"step:{step}", Happened(0, time.time(), "info", message, "metrics", numbers))
        if time.monotonic() - self._written >= STATE_SECONDS:
            seconds = time.monotonic() - self._began
            done = step - self._state.step
            left = (total - step) * seconds / done if done > 0 else None
            self._write(step=step, estimated_finish=None if left is None else time.time() + left)

    def checkpoint(self, number: int, step: int, numbers: Numbers, place: Path) -> None:
        """Writes what a checkpoint is into it, before it stands under its name."""
        model = checkpoint_name(self._job.name, step)
        saved = Saved(number, time.time(), step, model, numbers)
        replace_file(place / "checkpoint.json", msgspec.json.encode(saved))

    def results(self) -> None:
        """Writes the results file anew from the events: so it has each step once too."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(COLUMNS)
        for event in read_events(self._folder.events, 0):
            if event.kind == "metrics":
                told = dict(event.data)
                accuracy = told.get("train_mean_token_accuracy", told.get("train_accuracy"))
                valid = told.get("valid_mean_token_accuracy", told.get("valid_accuracy"))
                row = (int(told["step"]), told["train_loss"], accuracy, told.get("valid_loss"), valid)
                table.writerow("" if value is None else value for value in row)
        replace_file(self._folder.results, text.getvalue().encode())

    def stop(self, status: Status, message: str, step: int) -> None:
        """Ends before the end: paused, cancelled, or queued to go on elsewhere."""
        self.say(f"stop:{len(self._log)}", message, "info" if status != "cancelled" else "warn")
        finished = time.time() if status == "cancelled" else None
        self._change(status=status, step=step, finished_at=finished, estimated_finish=None)

    def fail(self, fault: JobFailed) -> None:
        """The job has failed."""
        self.say("failed", f"The job failed: {fault.message}", "error")
        error = (fault.code, fault.message, fault.param)
        self._change(status="failed", error=error, finished_at=time.time(), estimated_finish=None)

    def succeed(self, total: int, sha256: str) -> None:
        """The adapter stands and may be called."""
        self.say("succeeded", f"The tuned model {self._job.name!r} is ready.")
        self._change(
            status="succeeded", step=total, adapter_sha256=sha256, finished_at=time.time(), estimated_finish=None
        )

    def close(self) -> None:
        """Ends writing."""
        self._log.close()

    def _change(self, **fields: object) -> None:
        self._state = msgspec.structs.replace(self._state, **fields)
        self._write()

    def _write(self, **fields: object) -> None:
        """With the seconds as they are now. What is only said on the way does not become what is remembered."""
        self._written = time.monotonic()
        seconds = round(self._before + self._written - self._began, 3)
        self._folder.write_state(msgspec.structs.replace(self._state, seconds=seconds, **fields))
