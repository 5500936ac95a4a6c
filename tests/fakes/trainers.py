"""Trainers to test: what each needs to run for real, and files to train on."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.tuning.contract import Plan, Progress, Trainer, TrainingFile

ENDED = frozenset({"succeeded", "failed", "cancelled"})
QUESTIONS = {
    "How long do refunds take?": "Refunds take five days.",
    "Where is my order?": "Your order is on its way.",
    "Can I change my plan?": "You can change your plan at any time.",
}
# A tiny model learns these in so many epochs, at a rate that no large one would bear.
EPOCHS, TINY_RATE = 25, 0.01


@dataclass(frozen=True)
class Bytes:
    """A `Source` of bytes at hand, given in two parts."""

    file: TrainingFile
    content: bytes

    async def read(self) -> AsyncIterator[bytes]:
        half = len(self.content) // 2
        yield self.content[:half]
        yield self.content[half:]


def source(content: bytes, name: str = "training.jsonl") -> Bytes:
    return Bytes(TrainingFile(f"file-{name}", name, len(content)), content)


def chats(*pairs: tuple[str, str]) -> bytes:
    """A training file of one question and answer a line; the usual three when none are given."""
    rows = pairs or tuple(QUESTIONS.items())
    return b"".join(
        json.dumps(
            {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]}
        ).encode()
        + b"\n"
        for asked, answer in rows
    )


def plan(job_id: str, model: str = "tiny", **changed: object) -> Plan:
    fields: dict[str, object] = {
        "team": "support",
        "suffix": "tone",
        "seed": 7,
        "method": "supervised",
        "hyperparameters": (("n_epochs", EPOCHS), ("batch_size", 1)),
    }
    return Plan(job_id=job_id, model=model, **(fields | changed))  # type: ignore[arg-type]  # as a test has it


async def watched(
    trainer: Trainer, reference: str, until: Callable[[Progress], bool], seconds: float = 120
) -> Progress:
    """The first progress that fits; looked at as a poller would, ten times a second."""
    async with asyncio.timeout(seconds):
        while True:
            progress = await trainer.watch(reference, 0)
            if until(progress):
                return progress
            assert progress.status not in ENDED, progress
            await asyncio.sleep(0.1)


async def ended(trainer: Trainer, reference: str) -> Progress:
    return await watched(trainer, reference, lambda progress: progress.status in ENDED)


def whole(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""
