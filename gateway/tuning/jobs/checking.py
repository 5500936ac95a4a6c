"""Looks at a job's files before anything is trained on them: the same checks as `gateway datasets lint`."""

import asyncio
import tempfile
from collections.abc import Mapping
from typing import IO

import msgspec

from gateway.policy.tuning_file import TrainerEntry
from gateway.tuning.contract import Source
from gateway.tuning.datasets.estimates import default_epochs
from gateway.tuning.datasets.faults import Fault
from gateway.tuning.datasets.lint import Report, lint
from gateway.tuning.datasets.targets import Method, Target, TargetName, target_of
from gateway.tuning.jobs.engine import Checked
from gateway.tuning.jobs.values import TuningJob

# What a trainer takes is what its kind's target says; a cluster runs the same worker as this machine.
TARGETS: Mapping[str, TargetName] = {
    "openai_api": "openai",
    "azure": "azure",
    "together": "together",
    "fireworks": "fireworks",
    "local": "local",
    "ray": "local",
}
SPOOLED_BYTES = 8 * 1024 * 1024


async def check(job: TuningJob, entry: TrainerEntry | None, training: Source, validation: Source | None) -> Checked:
    """What is wrong with the files, whole: every fault of each, and how many tokens training will take."""
    target = target_of(TARGETS.get(entry.kind if entry is not None else "", "openai"), job.model)
    with _spool() as rows, _spool() as held:
        await _read(training, rows)
        if validation is not None:
            await _read(validation, held)
        name = training.file.filename
        other_name = None if validation is None else validation.file.filename
        report, other = await asyncio.to_thread(_looked, rows, held, (name, other_name), target, job.method)
    faults = [*_told(report, "error"), *([] if other is None else _told(other, "error"))]
    asked = dict(job.plan().hyperparameters).get("n_epochs")
    epochs = asked if isinstance(asked, int) else default_epochs(report.rows)
    return Checked(tuple(faults), tuple(_told(report, "warning")), report.tokens * epochs, report.dataset_hash)


def _looked(
    rows: IO[bytes], held: IO[bytes], names: tuple[str, str | None], target: Target, method: Method
) -> tuple[Report, Report | None]:
    rows.seek(0)
    held.seek(0)
    others = None if names[1] is None else held
    report = lint(rows, name=names[0], target=target, method=method, validation=others)
    if names[1] is None:
        return report, None
    held.seek(0)
    # How few rows a validation file may have no document says.
    lenient = msgspec.structs.replace(target, least_rows=1, good_rows=1)
    return report, lint(held, name=names[1], target=lenient, method=method)


def _spool() -> IO[bytes]:
    return tempfile.SpooledTemporaryFile(SPOOLED_BYTES)  # closed by its `with`


async def _read(source: Source, into: IO[bytes]) -> None:
    async for part in source.read():
        await asyncio.to_thread(into.write, part)


def _told(report: Report, severity: str) -> list[str]:
    return [_text(report.name, fault) for fault in report.faults if fault.severity == severity]


def _text(name: str, fault: Fault) -> str:
    return f"{name}:{fault.line}:{fault.column} {fault.code} {fault.message}"
