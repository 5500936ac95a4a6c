"""What a request for a fine-tuning job says, checked whole. Limits are those of OpenAI's documents."""

import random
from typing import Any, Literal

import msgspec

from gateway.core.errors import InvalidRequest
from gateway.core.ids import new_id
from gateway.tuning.contract import Method
from gateway.tuning.jobs.values import JobEvent, TuningJob

# How ids of jobs begin that are kept here: a provider's look otherwise.
OUR_IDS = "ftjob-sw"
MOST_SUFFIX = 64
MOST_SEED = 2**31 - 1
MOST_INTEGRATIONS = 5
METHODS: tuple[Method, ...] = ("supervised", "dpo", "reinforcement")
EFFORTS = frozenset({"default", "low", "medium", "high"})


class Wandb(msgspec.Struct, forbid_unknown_fields=True):
    """Where Weights and Biases shows the run."""

    project: str
    name: str | None = None
    entity: str | None = None
    tags: list[str] | None = None


class Integration(msgspec.Struct, forbid_unknown_fields=True):
    """Another system that is told."""

    type: Literal["wandb"]
    wandb: Wandb


class MethodOptions(msgspec.Struct, forbid_unknown_fields=True):
    """The options of one method; `grader` only of reinforcement."""

    hyperparameters: dict[str, Any] | None = None
    grader: msgspec.Raw = msgspec.Raw()


class MethodAsked(msgspec.Struct, forbid_unknown_fields=True):
    """How to train."""

    type: str
    supervised: MethodOptions | None = None
    dpo: MethodOptions | None = None
    reinforcement: MethodOptions | None = None


class NewJob(msgspec.Struct):
    """The body. Fields that are not known here are let pass: a newer SDK may send more."""

    model: str
    training_file: str
    validation_file: str | None = None
    suffix: str | None = None
    seed: int | None = None
    method: MethodAsked | None = None
    hyperparameters: dict[str, Any] | None = None
    integrations: list[Integration] | None = None
    metadata: dict[str, Any] | None = None


class Asked(msgspec.Struct, frozen=True):
    """What is to be trained and how. hyperparameters: as asked, `auto` included."""

    method: Method
    hyperparameters: dict[str, float | int | str]
    grader: str
    seed: int


def asked_of(body: NewJob) -> Asked:
    """The method and its parameters. Raises InvalidRequest (400) for what no method allows."""
    if not body.model:
        raise InvalidRequest("model is missing; it names the model to be tuned.", param="model")
    if not body.training_file:
        raise InvalidRequest("training_file is missing.", param="training_file")
    if body.suffix is not None and not 1 <= len(body.suffix) <= MOST_SUFFIX:
        raise InvalidRequest(f"suffix has 1 to {MOST_SUFFIX} characters.", param="suffix")
    if body.seed is not None and not 0 <= body.seed <= MOST_SEED:
        raise InvalidRequest(f"seed is {body.seed}; it must be from 0 to {MOST_SEED}.", param="seed")
    if len(body.integrations or ()) > MOST_INTEGRATIONS:
        raise InvalidRequest(f"There are at most {MOST_INTEGRATIONS} integrations.", param="integrations")
    method = _method(body)
    options = _options(body, method)
    place = f"method.{method}.hyperparameters"
    checked = _checked(method, _together(options.hyperparameters, body.hyperparameters, method), place)
    grader = bytes(options.grader).decode()
    if (method == "reinforcement") != bool(grader):
        told = "needs a grader" if method == "reinforcement" else "takes no grader"
        raise InvalidRequest(f"The method {method!r} {told}.", param=f"method.{method}.grader")
    # A job has a seed whether one was asked for or not: it is what makes a run repeatable.
    return Asked(method, checked, grader, random.randrange(MOST_SEED) if body.seed is None else body.seed)  # noqa: S311  # no secret


class Owner(msgspec.Struct, frozen=True):
    """Whose a job is. key_id: "" for one that was asked for at the command line."""

    team: str
    key_id: str = ""
    organisation: str = ""


def job_of(
    body: NewJob, asked: Asked, metadata: dict[str, str], owner: Owner, trainer: tuple[str, str], now: float
) -> TuningJob:
    """A job that is due at once. trainer: its name, and the upstream that serves what it makes."""
    job = TuningJob(
        id=new_id("").replace("_", OUR_IDS),
        team=owner.team,
        key_id=owner.key_id,
        organisation=owner.organisation,
        trainer=trainer[0],
        serves_at=trainer[1],
        model=body.model,
        training_file=body.training_file,
        validation_file=body.validation_file,
        suffix=body.suffix or "",
        seed=asked.seed,
        method=asked.method,
        hyperparameters=msgspec.json.encode(asked.hyperparameters).decode(),
        grader=asked.grader,
        integrations=msgspec.json.encode(body.integrations or []).decode(),
        metadata=msgspec.json.encode(metadata).decode(),
        created_at=now,
        due_at=now,
    )
    return msgspec.structs.replace(job, events=len(first_events(job)))


def first_events(job: TuningJob) -> list[JobEvent]:
    """What has happened to a job that was just asked for."""
    texts = [f"Created fine-tuning job: {job.id}", f"Validating training file: {job.training_file}"]
    if job.validation_file is not None:
        texts.append(f"Validating validation file: {job.validation_file}")
    return [JobEvent(job.id, number, job.created_at, "info", text) for number, text in enumerate(texts)]


def _method(body: NewJob) -> Method:
    if body.method is None:
        return "supervised"
    for known in METHODS:
        if body.method.type == known:
            return known
    raise InvalidRequest(
        f"method.type is {body.method.type!r}; it must be one of {', '.join(METHODS)}.", param="method.type"
    )


def _options(body: NewJob, method: Method) -> MethodOptions:
    if body.method is None:
        return MethodOptions()
    for other in METHODS:
        if other != method and getattr(body.method, other) is not None:
            raise InvalidRequest(
                f"method.type is {method!r}, and method.{other} is given; only one can hold.", param=f"method.{other}"
            )
    options: MethodOptions | None = getattr(body.method, method)
    return options or MethodOptions()


def _together(given: dict[str, Any] | None, old: dict[str, Any] | None, method: Method) -> dict[str, Any]:
    if old and method != "supervised":
        raise InvalidRequest(
            f"hyperparameters is the older form for supervised jobs; write method.{method}.hyperparameters.",
            param="hyperparameters",
        )
    both = {name for name in (given or {}).keys() & (old or {}).keys() if (given or {})[name] != (old or {})[name]}
    if both:
        raise InvalidRequest(
            f"hyperparameters and method.supervised.hyperparameters differ in {', '.join(sorted(both))}.",
            param="hyperparameters",
        )
    return {**(old or {}), **(given or {})}


# name -> (least, most, whole number); what is not named in a method is refused.
_RANGES: dict[str, tuple[float, float, bool]] = {
    "n_epochs": (1, 50, True),
    "batch_size": (1, 256, True),
    "learning_rate_multiplier": (0, 1e6, False),
    "beta": (0, 2, False),
    "compute_multiplier": (1e-5, 10, False),
    "eval_interval": (1, 1e9, True),
    "eval_samples": (1, 1e9, True),
}
_USUAL = ("n_epochs", "batch_size", "learning_rate_multiplier")
_NAMES: dict[Method, tuple[str, ...]] = {
    "supervised": _USUAL,
    "dpo": (*_USUAL, "beta"),
    "reinforcement": (*_USUAL, "compute_multiplier", "eval_interval", "eval_samples", "reasoning_effort"),
}
# Of these the least itself is not allowed.
_ABOVE = frozenset({"learning_rate_multiplier", "beta", "compute_multiplier"})


def _checked(method: Method, given: dict[str, Any], place: str) -> dict[str, float | int | str]:
    found: dict[str, float | int | str] = {}
    for name, value in given.items():
        if value is None:
            continue
        if name not in _NAMES[method]:
            raise InvalidRequest(
                f"{name!r} is no hyperparameter of {method}; there are {', '.join(_NAMES[method])}.",
                param=f"{place}.{name}",
            )
        found[name] = _effort(value, place) if name == "reasoning_effort" else _number(name, value, place)
    return found


def _effort(value: Any, place: str) -> str:
    if value not in EFFORTS:
        raise InvalidRequest(
            f"reasoning_effort is {value!r}; it must be one of {', '.join(sorted(EFFORTS))}.",
            param=f"{place}.reasoning_effort",
        )
    return str(value)


def _number(name: str, value: Any, place: str) -> float | int | str:
    if value == "auto":
        return "auto"
    least, most, whole = _RANGES[name]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    good = is_number and least <= value <= most and not (name in _ABOVE and value == least)
    if not good or (whole and value != int(value)):
        kind = "a whole number" if whole else "a number"
        above = "above" if name in _ABOVE else "from"
        raise InvalidRequest(
            f"{name} is {value!r}; it must be 'auto' or {kind} {above} {least:g} to {most:g}.",
            param=f"{place}.{name}",
        )
    return int(value) if whole else float(value)
