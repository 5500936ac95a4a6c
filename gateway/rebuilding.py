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
from gateway.tuning.datasets.rows import read_row
from gateway.tuning.datasets.splitting import Groups, for_validation
from gateway.tuning.datasets.statistics import statistics
from gateway.tuning.datasets.targets import Method, target_of, token_limit_of
from gateway.tuning.feedback.store import FeedbackStore
from gateway.tuning.feedback.values import Feedback
from gateway.tuning.golden import GoldenItem, Recording, golden_text, read_golden, set_hash
from gateway.tuning.jobs.checking import TARGETS
from gateway.tuning.lines.values import Version
from gateway.tuning.retraining.values import RetrainAsked

MOST_ITEMS = 200
# Fewer calls make no set; rows are held out then.
LEAST_CALLS = 20
# Of the rows, so many are held out: enough for an interval, and no more than a third.
HELD_OUT, LEAST_HELD, MOST_HELD_SHARE = 0.1, 12, 0.3


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
            rows, came_from = await self._of_version(champion), f"the dataset of v{champion.number}"
        if not rows:
            raise InvalidRequest(f"There are no rows to train on: {came_from} gave none.", param="data")
        items, set_from = self._items(given, rated_calls)
        method: Method = "dpo" if "preferred_output" in rows[0] else "supervised"
        if not items and method == "supervised":
            rows, items = await asyncio.to_thread(_held_out, rows)
            set_from = "rows held out"
        if not items:
            raise InvalidRequest("There is nothing to measure by; name a frozen set: --set FILE.", param="set")
        rows = _without(rows, items)
        if not rows:
            raise InvalidRequest("Every row is in the set that would be measured by; name another one.", param="set")
        day = utc_day(self._clock.wall())
        parts = (came_from, items, set_from, method)
        return await asyncio.to_thread(_looked_at, rows, parts, asked, entry, self._prices, day)

    async def _rated(self, asked: RetrainAsked) -> list[Rated]:
        entry = self._rulebook.teams.teams.get(asked.team)
        if entry is None or entry.capture is None:
            return []

        async def said_of(ids: Sequence[str]) -> dict[str, Feedback]:
            return await self._feedback.of(asked.team, ids)

        now = self._clock.wall()
        return [one async for one in rated(self._calls.read(CallsAsked(asked.team, asked.line), now), said_of)]

    @staticmethod
    def _of_calls(calls: list[Rated]) -> list[dict[str, Any]]:
        examples = Examples(Terms())
        made = [examples.row(call, said) for call, said in calls]
        return [dict(one.row) for one in made if one is not None]

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

    @staticmethod
    def _items(given: bytes | None, calls: list[Rated]) -> tuple[list[GoldenItem], str]:
        if given is not None:
            return read_golden(given), "the set that was given"
        recording = Recording()
        for one in calls:
            recording.add(one)
        items = recording.items(MOST_ITEMS)
        return (items, "captured calls") if len(items) >= LEAST_CALLS else ([], "")


def _rows(content: bytes) -> list[dict[str, Any]]:
    try:
        return [msgspec.json.decode(line, type=dict[str, Any]) for line in content.splitlines() if line.strip()]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise InvalidRequest(f"The training file cannot be read: {fault}.", param="data") from None


def _held_out(rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[GoldenItem]]:
    """Rows to train on, and items of the others; what belongs together stays on one side, the same one each time."""
    groups = Groups({})
    for number, row in enumerate(rows, 1):
        groups.add(read_row(number, "", row))
    share = min(MOST_HELD_SHARE, max(HELD_OUT, LEAST_HELD / len(rows)))
    try:
        sides = for_validation(groups.found(), share, 0)
    except InvalidRequest as fault:
        raise InvalidRequest(f"{fault.message} Name what to measure by: --set FILE.", param="set") from None
    content = b"".join(written(row) for row, is_held in zip(rows, sides, strict=True) if is_held)
    kept = [row for row, is_held in zip(rows, sides, strict=True) if not is_held]
    items: dict[str, GoldenItem] = {}
    for line in content.splitlines():
        for item in _readable(line):
            items[item.key] = item
    return (kept, [items[key] for key in sorted(items)][:MOST_ITEMS]) if items else (rows, [])


def _readable(line: bytes) -> list[GoldenItem]:
    """The item of a row; none of one whose answer is no text."""
    try:
        return read_golden(line)
    except InvalidRequest:
        return []


def _without(rows: list[dict[str, Any]], items: Sequence[GoldenItem]) -> list[dict[str, Any]]:
    """The rows without those that a model would be measured by: it would know the answers."""
    measured = {item.key for item in items}
    return [row for row in rows if not any(one.key in measured for one in _readable(written(row)))]


def _looked_at(
    rows: list[dict[str, Any]],
    parts: tuple[str, Sequence[GoldenItem], str, Method],
    asked: RetrainAsked,
    entry: TrainerEntry,
    prices: PriceTable,
    day: date,
) -> Rebuilt:
    came_from, items, set_from, method = parts
    name = TARGETS.get(entry.kind, "openai")
    target = target_of(name, asked.base)
    fixing = Fixing(target, method, drops_duplicates=True)
    lines = [one.line for one in fixing.rows([written(row) for row in rows])]
    report = lint(lines, name="rebuilt.jsonl", target=target, method=method)
    made = estimate(statistics(lines, asked.base, token_limit_of(asked.base)), asked.epochs)
    costs: Mapping[str, Any] = {one.trainer: one for one in trainer_costs(asked.base, made.billed_tokens, prices, day)}
    cost = costs[name]
    return Rebuilt(
        content=b"".join(lines),
        rows=report.rows,
        dataset_hash=report.dataset_hash,
        came_from=came_from,
        items=tuple(items),
        set_hash=set_hash(items),
        set_came_from=set_from,
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
