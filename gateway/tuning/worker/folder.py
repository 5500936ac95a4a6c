"""A job as a folder: what is asked of a worker, what it says, and what it leaves behind."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from gateway.tuning.contract import Progress, Saved
from gateway.tuning.worker.events import read_events
from gateway.tuning.worker.job import Job, Published, State

RESULTS = "results.csv"
Control = Literal["", "pause", "cancel"]
CONTROLS: dict[str, Control] = {"pause": "pause", "cancel": "cancel"}

T = TypeVar("T")


class Folder:
    """The places in a job's folder. Whoever writes `job.json` writes it last: a folder without it is no job yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.training = path / "training.jsonl"
        self.validation = path / "validation.jsonl"
        self.events = path / "events.jsonl"
        self.checkpoints = path / "checkpoints"
        self.adapter = path / "adapter"
        self.resume = path / "resume"
        self.log = path / "worker.log"
        self.starts = path / "starts.json"
        self.results = path / RESULTS
        self._control = path / "control"

    def job(self) -> Job | None:
        """What was asked for; None while it is being written down."""
        return _read(self.path / "job.json", Job)

    def write_job(self, job: Job) -> None:
        """Makes it a job."""
        replace_file(self.path / "job.json", msgspec.json.encode(job))

    def state(self) -> State:
        """How it stands; a job that no worker has touched is queued."""
        return _read(self.path / "state.json", State) or State()

    def write_state(self, state: State) -> None:
        """Replaces it whole: a reader sees one or the other."""
        replace_file(self.path / "state.json", msgspec.json.encode(state))

    def control(self) -> Control:
        """What was asked of the worker meanwhile; it looks between two steps."""
        try:
            return CONTROLS.get(self._control.read_text("utf-8"), "")
        except FileNotFoundError:
            return ""

    def ask(self, control: Control) -> None:
        """Asks it of the worker; "" takes back what was asked."""
        if control:
            replace_file(self._control, control.encode())
        else:
            self._control.unlink(missing_ok=True)

    def asked_at(self) -> float | None:
        """Since when something is asked, in seconds since 1970."""
        try:
            return self._control.stat().st_mtime
        except FileNotFoundError:
            return None

    def checkpoint(self, step: int) -> Path:
        """The folder of a checkpoint, in the format of PEFT."""
        return self.checkpoints / str(step)

    def saved(self) -> tuple[Saved, ...]:
        """The checkpoints that are kept, by step. Their record stands in them, so neither is without the other."""
        found = (_read(path, Saved) for path in self.checkpoints.glob("*/checkpoint.json"))
        return tuple(sorted((saved for saved in found if saved is not None), key=lambda saved: saved.step))

    def kept_step(self) -> int:
        """After which step a worker would go on; 0 from the beginning."""
        return max((int(path.name) for path in self.resume.glob("*") if path.name.isdigit()), default=0)

    def progress(self, since: int) -> Progress:
        """How it stands as the jobs' engine wants it. The state is read first: what it says has happened is there."""
        state, job = self.state(), self.job()
        goes_on = state.status == "paused" and self.control() != "pause"
        return Progress(
            status="queued" if goes_on else state.status,
            events=read_events(self.events, since),
            checkpoints=self.saved(),
            tuned_model=job.name if job is not None and state.status == "succeeded" else None,
            trained_tokens=state.trained_tokens if state.status == "succeeded" else None,
            hyperparameters=state.hyperparameters,
            error=state.error,
            finished_at=state.finished_at,
            estimated_finish=state.estimated_finish,
            results=(RESULTS,) if state.status == "succeeded" else (),
            seconds=state.seconds or None,
        )

    @contextlib.contextmanager
    def held(self) -> Iterator[bool]:
        """Whether this process alone works on the job, for as long as the block lasts or the process lives.

        The kernel lets go of it with the process, so a lock never outlives a `kill -9`.
        """
        with locked(self.path / "worker.lock", wait=False) as is_ours:
            yield is_ours

    def is_held(self) -> bool:
        """Whether some process works on the job."""
        with self.held() as is_ours:
            return not is_ours


def publish(root: Path, entry: Published) -> None:
    """Lets those who serve this root know of an adapter. Twice is once."""
    folder = root / "published"
    folder.mkdir(exist_ok=True)
    replace_file(published_file(root, entry.name), msgspec.json.encode(entry))


def unpublish(root: Path, name: str) -> bool:
    """Takes back what `publish` told; the adapter itself stays. False when it was not published."""
    path = published_file(root, name)
    had = path.exists()
    path.unlink(missing_ok=True)
    return had


def published_file(root: Path, name: str) -> Path:
    """Where an adapter of this name stands or would stand. Names have colons, which not every file system takes."""
    plain = "".join(one if one.isalnum() or one in "-._" else f"%{ord(one):x}%" for one in name)
    return root / "published" / f"{plain}.json"


def read_published(root: Path) -> dict[str, Published]:
    """Every adapter that may be called, by name."""
    found = (_read(path, Published) for path in sorted((root / "published").glob("*.json")))
    return {entry.name: entry for entry in found if entry is not None}


def finished_adapters(root: Path, seen_as: str | None = None) -> dict[str, str]:
    """The folders of finished adapters by name, without checkpoints. seen_as: the root as who loads them sees it."""
    place = seen_as if seen_as is not None else str(root)
    return {
        entry.name: f"{place.rstrip('/')}/{entry.path}"
        for entry in read_published(root).values()
        if ":ckpt-step-" not in entry.name
    }


@contextlib.contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[bool]:
    """Holds a lock file. Gives False at once when another holds it and `wait` is False."""
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file whole: after a crash it is the old one or the new one, and on disk."""
    handle, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    Path(partial).replace(path)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A place to write a folder in; it stands under its name when the block ends well, and not before."""
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    shutil.rmtree(path, ignore_errors=True)
    partial.rename(path)


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
