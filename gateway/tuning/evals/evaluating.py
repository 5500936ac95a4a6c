"""One item of a run: answered where its run asks a model, then graded by each criterion."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from gateway.core.answered import Ask
from gateway.core.json_value import Json
from gateway.core.values import Value
from gateway.tuning.evals.data_source import Asked, DataSource
from gateway.tuning.evals.sampling import sampled
from gateway.tuning.evals.values import Outcome, Result, Sampled, Tally, Work
from gateway.tuning.graders.graded import Graded
from gateway.tuning.graders.template import Subject, UnknownVariable
from gateway.tuning.graders.written import AnyGrader, grade

# Keeps how far an item has come.
Note = Callable[[Outcome], Awaitable[None]]

_outcome = msgspec.json.Decoder(Outcome)


class Plan(Value, frozen=True):
    """What a run does with each of its items."""

    source: DataSource
    criteria: Sequence[AnyGrader]


def read_outcome(written: str) -> Outcome:
    """How far an item has come."""
    return _outcome.decode(written) if written else Outcome()


async def evaluated(work: Work, plan: Plan, ask: Ask, note: Note) -> Outcome:
    """What comes of an item. What was noted before is not asked for again. Raises what `ask` raises."""
    outcome = read_outcome(work.outcome)
    item: Json = msgspec.json.decode(work.item)
    given: Mapping[str, Json] | None = msgspec.json.decode(work.given) if work.given else None
    if isinstance(plan.source, Asked):
        if outcome.sampled is None:
            outcome = Outcome(await _sampled(plan.source, item, ask))
            await note(outcome)
        if outcome.sampled is not None and outcome.sampled.error is not None:
            return outcome
        given = outcome.sampled.namespace if outcome.sampled is not None else None
    for grader in plan.criteria[len(outcome.results) :]:
        graded = await grade(grader, Subject(item, given), ask)
        outcome = msgspec.structs.replace(outcome, results=(*outcome.results, _result(grader, graded)))
        if graded.usage:
            await note(outcome)
    return outcome


async def _sampled(source: Asked, item: Json, ask: Ask) -> Sampled:
    try:
        return await sampled(source, item, ask)
    except UnknownVariable as fault:
        return Sampled([], {}, error=("invalid_variable", fault.message))


def _result(grader: AnyGrader, graded: Graded) -> Result:
    passed = graded.passed and graded.errors.is_empty
    return Result(grader.name, grader.type, graded.score, passed, graded.errors, graded.usage, graded.said)


def gone_wrong(outcome: Outcome, code: str, message: str) -> Outcome:
    """The outcome of an item that could not be evaluated: what was known of it, and why there is no more."""
    before = outcome.sampled or Sampled([], {})
    return msgspec.structs.replace(outcome, sampled=msgspec.structs.replace(before, error=(code, message)))


def tallies_of(outcome: Outcome) -> list[Tally]:
    """What an item adds to the sums of its run."""
    made = [
        Tally("criterion", f"{number:03d}", passed=int(result.passed), failed=int(not result.passed))
        for number, result in enumerate(outcome.results)
    ]
    models: dict[str, Tally] = {}
    for used in outcome.usage:
        before = models.get(used.model, Tally("model", used.model))
        models[used.model] = Tally(
            "model",
            used.model,
            invocations=before.invocations + used.invocations,
            prompt_tokens=before.prompt_tokens + (used.prompt_tokens or 0),
            completion_tokens=before.completion_tokens + (used.completion_tokens or 0),
            cached_tokens=before.cached_tokens + (used.cached_tokens or 0),
            unmetered=before.unmetered + (used.invocations if used.prompt_tokens is None else 0),
        )
    return [*made, *models.values()]
