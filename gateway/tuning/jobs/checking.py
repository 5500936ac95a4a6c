"""Looks at a job's files before anything is trained on them."""

import asyncio
import hashlib

import msgspec

from gateway.tuning.contract import Source
from gateway.tuning.jobs.engine import Checked
from gateway.tuning.jobs.values import TuningJob

LEAST_ROWS = 10


async def check(job: TuningJob, training: Source, validation: Source | None) -> Checked:
    """What is wrong with the files, whole: every fault of each."""
    del job, validation
    content = b"".join([part async for part in training.read()])
    return await asyncio.to_thread(_checked, content)


def _checked(content: bytes) -> Checked:
    lines = content.splitlines()
    faults = []
    for number, line in enumerate(lines, 1):
        try:
            msgspec.json.decode(line, type=dict)
        except (msgspec.DecodeError, UnicodeError):
            faults.append(f"Line {number} is not a JSON object.")
    if len(lines) < LEAST_ROWS:
        faults.append(f"Training file has {len(lines)} example(s), but must have at least {LEAST_ROWS} examples")
    return Checked(tuple(faults), (), None, "ds-" + hashlib.sha256(content).hexdigest()[:16])
