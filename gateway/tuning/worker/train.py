"""`python -m gateway.tuning.worker train --job DIR`: works on one job until it ends, is paused, or is told to go."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gateway.tuning.worker.folder import Folder
from gateway.tuning.worker.job import ENDED, Job
from gateway.tuning.worker.report import JobFailed, Report
from gateway.tuning.worker.training import Stopped, Training


def train(folder: Folder) -> int:
    """The exit status: 0 whenever the folder says what became of the job.

    What is not foreseen goes through as it is: the process ends, and whoever started it tries again.
    """
    with folder.held() as is_ours:
        job = folder.job()
        if not is_ours or job is None or folder.state().status in ENDED:
            return 0
        report = Report(folder, job)
        try:
            with _told_to_end() as stopped:
                _work(folder, job, report, stopped)
        finally:
            report.close()
    return 0


def _work(folder: Folder, job: Job, report: Report, stopped: Stopped) -> None:
    try:
        Training(folder, job, report, stopped).run()
    except JobFailed as fault:
        report.fail(fault)
    except torch.OutOfMemoryError as fault:
        text = f"The accelerator's memory does not hold this job ({str(fault).partition('. ')[0]})."
        report.fail(JobFailed("out_of_memory", text, "hyperparameters"))


@contextmanager
def _told_to_end() -> Iterator[Stopped]:
    """SIGTERM means: keep what is done, and end. A second one ends at once."""
    told: list[int] = []

    def note(sign: int, _: object) -> None:
        told.append(sign)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    before = signal.signal(signal.SIGTERM, note)
    try:
        yield lambda: bool(told)
    finally:
        signal.signal(signal.SIGTERM, before)
