"""Jobs that no worker is at: whether another one may try, and what becomes of those that are to wait or to end."""

from collections.abc import Callable

import msgspec

from gateway.core.values import Value
from gateway.tuning.contract import Status
from gateway.tuning.worker.folder import Folder, replace_file
from gateway.tuning.worker.report import JobFailed, Report

# Workers that end so often without having come further are not followed by another.
MOST_STARTS = 3
LOG_BYTES = 600


class Attempt(Value, frozen=True):
    """One start of a worker. number: of all of the job's, from 1. step, count: how many began after this step."""

    number: int
    step: int
    count: int


def last_attempt(folder: Folder) -> Attempt | None:
    """The newest one that was written down; None before the first."""
    try:
        return msgspec.json.decode(folder.starts.read_bytes(), type=Attempt)
    except FileNotFoundError:
        return None


def next_attempt(folder: Folder) -> Attempt | None:
    """Writes the next one down before it is made. None when there have been enough: the job has then failed."""
    before, step = last_attempt(folder), folder.kept_step()
    new = Attempt(1, step, 1)
    if before is not None:
        new = Attempt(before.number + 1, step, before.count + 1 if before.step == step else 1)
    if new.count > MOST_STARTS:
        with folder.held() as is_ours:
            if is_ours:
                _report(folder, lambda report: report.fail(JobFailed("worker_failed", _last_words(folder))))
        return None
    replace_file(folder.starts, msgspec.json.encode(new))
    return new


def forgive(folder: Folder) -> None:
    """A worker that ended because it was told to has not failed: what it did counts no longer against the job."""
    before = last_attempt(folder)
    if before is not None:
        replace_file(folder.starts, msgspec.json.encode(Attempt(before.number, before.step, 0)))


def is_due(folder: Folder) -> bool:
    """Whether a job that no worker is at may have one; one that is to wait or to end does so here."""
    asked = folder.control()
    if asked == "":
        return True
    status: Status = "paused" if asked == "pause" else "cancelled"
    if folder.state().status != status:
        with folder.held() as is_ours:
            if is_ours:
                message = f"Training was {status} while no worker was at it."
                _report(folder, lambda report: report.stop(status, message, folder.kept_step()))
    return False


def _report(folder: Folder, say: Callable[[Report], None]) -> None:
    job = folder.job()
    if job is None:
        return
    report = Report(folder, job)
    try:
        say(report)
    finally:
        report.close()


def _last_words(folder: Folder) -> str:
    text = folder.log.read_bytes()[-LOG_BYTES:].decode(errors="replace").strip() if folder.log.exists() else ""
    last = "".join(text.splitlines()[-1:])
    return f"The worker ended {MOST_STARTS} times without getting further. It said last: {last or 'nothing'}"
