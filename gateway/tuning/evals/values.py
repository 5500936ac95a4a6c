"""Evals, runs and their items as values. What callers wrote is kept as they wrote it, as JSON text."""

from typing import Any, Literal

from gateway.core.values import Value
from gateway.tuning.graders.graded import FINE, Errors, ModelUsage

RunStatus = Literal["queued", "in_progress", "completed", "canceled", "failed"]
ItemStatus = Literal["pass", "fail", "error"]
# An item that waits or is at work, and one whose run ended without it.
QUEUED, LEFT_OUT = "queued", "canceled"
MADE = "eval"
RUN = "evalrun"
ITEM = "outputitem"


class Eval(Value, frozen=True):
    """An eval of a team. metadata, data_source_config, testing_criteria: JSON as it was sent. Times: Unix seconds."""

    id: str
    team: str
    name: str
    metadata: str
    data_source_config: str
    testing_criteria: str
    created_at: float
    updated_at: float


class Run(Value, frozen=True):
    """A run of an eval. principal: JSON of whose calls it makes. item_count: how many items its data has."""

    id: str
    eval_id: str
    team: str
    principal: str
    name: str
    metadata: str
    data_source: str
    model: str
    status: RunStatus
    created_at: float
    item_count: int
    error_code: str = ""
    error_message: str = ""


class Row(Value, frozen=True):
    """A row of a run's data: the item, and the sample that came with it (JSON; "" for none)."""

    item: str
    given: str = ""


class Work(Value, frozen=True):
    """A claimed item. number: its place in the data, from 0. outcome: JSON of how far it had come, "" for nowhere."""

    run_id: str
    number: int
    item: str
    given: str
    outcome: str
    tries: int


class Result(Value, frozen=True):
    """What one criterion said of an item."""

    name: str
    type: str
    score: float
    passed: bool
    errors: Errors = FINE
    usage: tuple[ModelUsage, ...] = ()
    said: str | None = None


class Sampled(Value, frozen=True):
    """What a model was asked and answered. namespace: what templates call `sample`; of a shape that models decide.

    error: code and message of an answer that was none.
    """

    input: list[Any]
    namespace: dict[str, Any]
    finish_reason: str = ""
    usage: ModelUsage | None = None
    error: tuple[str, str] | None = None


class Outcome(Value, frozen=True):
    """What came of an item, as far as it has come. results: in the order of the criteria."""

    sampled: Sampled | None = None
    results: tuple[Result, ...] = ()

    @property
    def status(self) -> ItemStatus:
        """`error` when it could not be sampled or graded, `pass` when every criterion says so."""
        if self.sampled is not None and self.sampled.error is not None:
            return "error"
        if any(not result.errors.is_empty for result in self.results):
            return "error"
        return "pass" if self.results and all(result.passed for result in self.results) else "fail"

    @property
    def usage(self) -> tuple[ModelUsage, ...]:
        """What all models used for it."""
        asked = () if self.sampled is None or self.sampled.usage is None else (self.sampled.usage,)
        return (*asked, *(used for result in self.results for used in result.usage))


class OutputItem(Value, frozen=True):
    """An item that was evaluated."""

    id: str
    run_id: str
    number: int
    item: str
    given: str
    status: ItemStatus
    outcome: str
    created_at: float


class Tally(Value, frozen=True):
    """Sums of a run. kind: `criterion` (name: its number) or `model`. unmetered: calls that told no usage."""

    kind: str
    name: str
    passed: int = 0
    failed: int = 0
    invocations: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    unmetered: int = 0


class Progress(Value, frozen=True):
    """How far a run is. by_status: evaluated items."""

    by_status: dict[str, int]
    tallies: tuple[Tally, ...] = ()
