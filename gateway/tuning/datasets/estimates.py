"""What training on a file will cost, and after how many calls it is cheaper than looking things up."""

from collections.abc import Sequence
from datetime import date

from gateway.core.values import Value
from gateway.pricing.rates import PICO_PER_NANO, Rates, training_cost
from gateway.pricing.table import PriceTable
from gateway.tuning.datasets.statistics import Statistics

# OpenAI's cookbook, "Data preparation and analysis for chat model fine-tuning": what `auto` is taken to mean.
TARGET_EPOCHS = 3
LEAST_EXAMPLES, MOST_EXAMPLES = 100, 25_000
LEAST_EPOCHS, MOST_EPOCHS = 1, 25
# What a lookup puts before a question, unless somebody has measured it.
RAG_CONTEXT = 2_000
FORMULA = (
    "training / (RAG per call - tuned per call), where a tuned call is prompt x input + answer x output at the tuned "
    "model's rates, and a RAG call (prompt + context) x input + answer x output at the plain model's"
)


class TrainerCost(Value, frozen=True):
    """What one trainer asks for the whole training. nano_usd: None when no price is known; note: why, or from where."""

    trainer: str
    nano_usd: int | None
    note: str


class Estimate(Value, frozen=True):
    """rows, per_epoch: as counted. billed_tokens: per_epoch times epochs. is_estimate: by a tokenizer that is near."""

    rows: int
    per_epoch: int
    epochs: int
    billed_tokens: int
    trained_tokens: int
    is_estimate: bool
    costs: tuple[TrainerCost, ...] = ()


class BreakEven(Value, frozen=True):
    """After how many calls a tuned model has cost as much as looking things up on `rag_model`; from then on it is less.

    requests: None when it never is (is_never), or when a price is not known (missing names whose).
    tuned_pico_usd, rag_pico_usd: of one call.
    """

    rag_model: str
    requests: int | None
    is_never: bool
    tuned_pico_usd: int | None
    rag_pico_usd: int | None
    missing: tuple[str, ...] = ()


class Call(Value, frozen=True):
    """One call as it will be: tokens of its prompt, of its answer, and of what a lookup would add."""

    prompt: int
    answer: int
    context: int = RAG_CONTEXT


class Finished(Value, frozen=True):
    """A job that ended: what had been estimated for it, and what its trainer billed."""

    estimated_tokens: int
    trained_tokens: int


class Calibration(Value, frozen=True):
    """An estimate corrected by jobs that ended. ratio: billed over estimated, all jobs together; None without jobs.

    low, high: the least and the greatest ratio of one job; billed_tokens: with the ratio applied, and at both ends.
    """

    jobs: int
    ratio: float | None
    low: float | None
    high: float | None
    billed_tokens: int
    billed_low: int
    billed_high: int


def default_epochs(rows: int) -> int:
    """How many epochs `auto` is for so many rows, by the cookbook's rule; 1 to 25."""
    if rows * TARGET_EPOCHS < LEAST_EXAMPLES:
        return min(MOST_EPOCHS, LEAST_EXAMPLES // max(1, rows))
    if rows * TARGET_EPOCHS > MOST_EXAMPLES:
        return max(LEAST_EPOCHS, MOST_EXAMPLES // rows)
    return TARGET_EPOCHS


def estimate(counted: Statistics, epochs: int | None = None) -> Estimate:
    """The tokens of a training. epochs: None is the documented default for that many rows."""
    times = default_epochs(counted.rows) if epochs is None else epochs
    return Estimate(
        counted.rows,
        counted.per_epoch,
        times,
        counted.per_epoch * times,
        counted.trained_tokens * times,
        counted.is_estimate,
    )


def trainer_costs(base: str, tokens: int, prices: PriceTable, day: date) -> tuple[TrainerCost, ...]:
    """What each trainer would ask for so many billed tokens.

    OpenAI's price stands for OpenAI alone: another trainer's counts only where prices.yaml names it as `provider`.
    """
    tuned = f"ft:{base.removeprefix('ft:')}"
    found = [_cost("openai", prices.provider_rates(tuned, day, "openai") or prices.rates(tuned, day), tokens, tuned)]
    found += [
        _cost(name, prices.provider_rates(tuned, day, name) or prices.provider_rates(base, day, name), tokens, tuned)
        for name in ("azure", "together", "fireworks")
    ]
    found.append(TrainerCost("local", None, "your own machine's time, which has no price here"))
    return tuple(found)


def _cost(trainer: str, rates: Rates | None, tokens: int, model: str) -> TrainerCost:
    cost = None if rates is None else training_cost(rates, tokens)
    if rates is None or cost is None:
        by_hour = rates is not None and rates.training_hour_nano_usd is not None
        why = "billed by the hour of training" if by_hour else f"no training price is known for {model!r} there"
        return TrainerCost(trainer, None, why)
    note = f"{(rates.training or 0) / 1_000_000:g} USD per million tokens, {rates.source}"
    if trainer == "azure":
        note += "; hosting by the hour is not in it"
    return TrainerCost(trainer, cost, note)


def break_even(
    training_nano_usd: int | None, tuned: Rates | None, rag: Rates | None, rag_model: str, call: Call
) -> BreakEven:
    """The calls after which training has paid for itself against RAG on `rag_model`; FORMULA says how.

    Retrieval's own cost, cached prefixes and hosting are not in it. Rounded down.
    """
    tuned_cost, rag_cost = _of_call(tuned, call, 0), _of_call(rag, call, call.context)
    named = (("training", training_nano_usd), ("the tuned model", tuned_cost), (rag_model, rag_cost))
    missing = tuple(name for name, value in named if value is None)
    if training_nano_usd is None or tuned_cost is None or rag_cost is None:
        return BreakEven(
            rag_model, None, is_never=False, tuned_pico_usd=tuned_cost, rag_pico_usd=rag_cost, missing=missing
        )
    saved = rag_cost - tuned_cost
    requests = training_nano_usd * PICO_PER_NANO // saved if saved > 0 else None
    return BreakEven(rag_model, requests, saved <= 0, tuned_cost, rag_cost)


def _of_call(rates: Rates | None, call: Call, context: int) -> int | None:
    if rates is None or rates.input is None or rates.output is None:
        return None
    return (call.prompt + context) * rates.input + call.answer * rates.output


def calibrated(made: Estimate, finished: Sequence[Finished]) -> Calibration:
    """The estimate corrected by what earlier jobs were billed; jobs for which 0 was estimated tell nothing."""
    told = [job for job in finished if job.estimated_tokens > 0 and job.trained_tokens >= 0]
    if not told:
        billed = made.billed_tokens
        return Calibration(0, None, None, None, billed, billed, billed)
    ratio = sum(job.trained_tokens for job in told) / sum(job.estimated_tokens for job in told)
    ratios = [job.trained_tokens / job.estimated_tokens for job in told]
    low, high = min(ratios), max(ratios)
    at = [round(made.billed_tokens * value) for value in (ratio, low, high)]
    return Calibration(len(told), ratio, low, high, at[0], at[1], at[2])
