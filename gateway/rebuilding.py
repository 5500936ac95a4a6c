"""What a retraining trains on and is measured by: the rows of a line's champion or of its calls, and a set held out."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from gateway.core.clock import Clock, utc_day
from gateway.core.errors import InvalidRequest
from gateway.core.values import Value
from gateway.files.store import FileStore
from gateway.policy.load import Rulebook
from gateway.policy.tuning_file import TrainerEntry
from gateway.pricing.table import PriceTable
from gateway.tuning.captured.examples import Examples, Rated, Terms, rated
from gateway.tuning.captured.store import CapturedCalls
from gateway.tuning.captured.values import CallsAsked
from gateway.tuning.datasets.estimates import estimate, trainer_costs
from gateway.tuning.datasets.faults import Fault
from gateway.tuning.datasets.fixing import Fixing
from gateway.tuning.datasets.lint import lint
from gateway.tuning.datasets.mended_rows import written
from gateway.tuning.datasets.statistics import statistics
from gateway.tuning.datasets.targets import Method, target_of, token_limit_of
from gateway.tuning.feedback.store import FeedbackStore
from gateway.tuning.feedback.values import Feedback
from gateway.tuning.golden import GoldenItem, golden_text, set_hash
from gateway.tuning.jobs.checking import TARGETS
from gateway.tuning.lines.values import Version
from gateway.tuning.retraining.parting import Given, Parted, parted
from gateway.tuning.retraining.values import RetrainAsked


class Rebuilt(Value, frozen=True):
    """rows: the training file. items: the frozen set, none of which is among the rows. mended, faults: of its lint.

    tokens: billed for the whole training, epochs counted in. cost_nano_usd: None without a price; note: why.
    came_from, set_came_from: where both are from, in words.
    """

    content: bytes
    rows: int
    dataset_hash: str
    came_from: str
    items: tuple[GoldenItem, ...]
    set_hash: str
    set_came_from: str
    method: Method
    mended: tuple[tuple[str, int], ...]
    faults: tuple[Fault, ...]
    warnings: int
    epochs: int
    tokens: int
    cost_nano_usd: int | None
    note: str


class Rebuilding:
    """Rebuilds. Reads, and writes nothing. prices: as they are today."""

    def __init__(
        self,
        files: FileStore,
        calls: CapturedCalls,
        feedback: FeedbackStore,
        rulebook: Rulebook,
        prices: PriceTable,
        policies: Path,
        clock: Clock,
    ) -> None:
        self._files = files
        self._calls = calls
        self._feedback = feedback
        self._rulebook = rulebook
        self._prices = prices
        self._policies = policies
        self._clock = clock

    async def run(self, asked: RetrainAsked, champion: Version, entry: TrainerEntry, given: bytes | None) -> Rebuilt:
        """What would be trained on. given: a frozen set. Raises InvalidRequest (400) when there is nothing."""
        rated_calls = await self._rated(asked)
        if asked.data == "ledger":
            rows, came_from = self._of_calls(rated_calls), f"captured calls of {asked.line}"
        else:
            of_version = await self._of_version(champion)
            rows, came_from = [Given(row) for row in of_version], f"the dataset of v{champion.number}"
        if not rows:
            raise InvalidRequest(f"There are no rows to train on: {came_from} gave none.", param="data")
        method: Method = "dpo" if "preferred_output" in rows[0].data else "supervised"
        least = target_of(TARGETS.get(entry.kind, "openai"), asked.base).least_rows
        # Calls that are the rows cannot be the set as well.
        others = rated_calls if asked.data == "version" else []
        found = await asyncio.to_thread(parted, rows, given, others, least)
        day = utc_day(self._clock.wall())
        return await asyncio.to_thread(_looked_at, found, came_from, method, asked, entry, self._prices, day)

    async def _rated(self, asked: RetrainAsked) -> list[Rated]:
        entry = self._rulebook.teams.teams.get(asked.team)
        if entry is None or entry.capture is None:
            return []

        async def said_of(ids: Sequence[str]) -> dict[str, Feedback]:
            return await self._feedback.of(asked.team, ids)

        now = self._clock.wall()
        return [one async for one in rated(self._calls.read(CallsAsked(asked.team, asked.line), now), said_of)]

    @staticmethod
    def _of_calls(calls: list[Rated]) -> list[Given]:
        examples = Examples(Terms())
        made = [(examples.row(*rated_call), rated_call) for rated_call in calls]
        return [Given(dict(one.row), rated_call) for one, rated_call in made if one is not None]

    async def _of_version(self, version: Version) -> list[dict[str, Any]]:
        name = version.training_file
        if not name:
            raise InvalidRequest(
                f"What v{version.number} of {version.line!r} was trained on is not known; use --data ledger.",
                param="data",
            )
        stored = await self._files.find(name)
        if stored is not None:
            content = await self._files.content(stored)
        else:
            path = self._policies / name
            try:
                content = await asyncio.to_thread(path.read_bytes)
            except OSError as fault:
                raise InvalidRequest(
                    f"The training file {name!r} cannot be read: {fault.strerror}.", param="data"
                ) from None
        return await asyncio.to_thread(_rows, content)


def _rows(content: bytes) -> list[dict[str, Any]]:
    try:
        return [msgspec.json.decode(line, type=dict[str, Any]) for line in content.splitlines() if line.strip()]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise InvalidRequest(f"The training file cannot be read: {fault}.", param="data") from None


def _looked_at(
    found: Parted,
    came_from: str,
    method: Method,
    asked: RetrainAsked,
    entry: TrainerEntry,
    prices: PriceTable,
    day: date,
) -> Rebuilt:
    name = TARGETS.get(entry.kind, "openai")
    target = target_of(name, asked.base)
    fixing = Fixing(target, method, drops_duplicates=True)
    lines = [one.line for one in fixing.rows([written(row) for row in found.rows])]
    report = lint(lines, name="rebuilt.jsonl", target=target, method=method)
    made = estimate(statistics(lines, asked.base, token_limit_of(asked.base)), asked.epochs)
    costs: Mapping[str, Any] = {one.trainer: one for one in trainer_costs(asked.base, made.billed_tokens, prices, day)}
    cost = costs[name]
    return Rebuilt(
        content=b"".join(lines),
        rows=report.rows,
        dataset_hash=report.dataset_hash,
        came_from=came_from,
        items=found.items,
        set_hash=set_hash(found.items),
        set_came_from=found.came_from,
        method=method,
        mended=tuple((code, count) for code, count in sorted(fixing.changes.items()) if count),
        faults=tuple(fault for fault in report.faults if fault.severity == "error"),
        warnings=report.warnings,
        epochs=made.epochs,
        tokens=made.billed_tokens,
        cost_nano_usd=cost.nano_usd,
        note=cost.note,
    )


def set_content(rebuilt: Rebuilt) -> bytes:
    """The frozen set as a file."""
    return golden_text(rebuilt.items)
