"""`gateway tuning start|watch|jobs|cancel`: fine-tuning jobs, as `/v1/fine_tuning/jobs` has them."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from gateway.cli.output import print_json, print_table, say
from gateway.cli.tuning_place import with_tuned

LOOK_SECONDS = 0.5
FAILED = 1


def start(
    file: Path,
    *,
    team: str,
    model: str,
    validation: Path | None = None,
    suffix: str = "",
    method: Literal["supervised", "dpo"] = "supervised",
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate_multiplier: float | None = None,
    seed: int | None = None,
    wait: bool = False,
    json: bool = False,
) -> int:
    """Uploads a training file and starts a job with the trainer of tuning.yaml; a running gateway does the rest.

    team: whose job it is, and who pays. What is not given of epochs and the like is `auto`. wait: follow it to its
    end; exit 1 when it fails.
    """
    given = {"n_epochs": epochs, "batch_size": batch_size, "learning_rate_multiplier": learning_rate_multiplier}
    asked = {name: value for name, value in given.items() if value is not None}
    made = with_tuned(lambda tuned: _start(tuned, file, validation, team, model, suffix, method, asked, seed))
    if wait:
        return watch(made.id, json=json)
    if json:
        print_json(made)
    else:
        say(f"Job {made.id} is with trainer {made.trainer!r}. Follow it: gateway tuning watch {made.id}")
    return 0


def watch(job: str, *, json: bool = False) -> int:
    """Follows a job to its end, event by event; exit 1 when it fails or is cancelled."""
    done = with_tuned(lambda tuned: _follow(tuned, job, quiet=json))
    if json:
        print_json(done)
    elif done.state == "succeeded":
        say(f"{done.tuned_model}: {done.trained_tokens or 0:,} tokens trained, {_cost(done.cost_nano_usd)}.")
    return 0 if done.state == "succeeded" else FAILED


def jobs(*, team: str, limit: int = 20, json: bool = False) -> None:
    """Lists a team's jobs, newest first."""
    from gateway.core.page import PageAsked

    page = with_tuned(lambda tuned: tuned.jobs.page(team, PageAsked(limit)))
    if json:
        print_json(page.items)
        return
    rows = [
        (
            one.id,
            datetime.fromtimestamp(one.created_at, UTC).strftime("%Y-%m-%d %H:%M"),
            one.state,
            one.trainer,
            one.model,
            one.tuned_model,
            one.trained_tokens,
            _usd(one.cost_nano_usd),
        )
        for one in page.items
    ]
    columns = ("job", "made", "state", "trainer", "base", "model", "tokens", "USD")
    print_table(columns, rows, frozenset({"tokens", "USD"}))


def cancel(job: str, *, json: bool = False) -> None:
    """Asks for a job to be cancelled."""

    async def work(tuned: Any) -> Any:
        found = await _job(tuned, job)
        await tuned.jobs.want(found, "cancel", tuned.clock.wall())
        return await _job(tuned, job)

    found = with_tuned(work)
    if json:
        print_json(found)
    else:
        say(f"Job {job} is {found.state}{', to be cancelled' if found.wanted else ''}.")


async def _start(
    tuned: Any,
    file: Path,
    validation: Path | None,
    team: str,
    model: str,
    suffix: str,
    method: Literal["supervised", "dpo"],
    hyperparameters: dict[str, Any],
    seed: int | None,
) -> Any:
    from gateway.training import trainer_for
    from gateway.tuning.jobs.asked import MethodAsked, MethodOptions, NewJob, Owner, asked_of, first_events, job_of

    name, entry = trainer_for(tuned.loaded.rulebook, model, team)
    options = MethodOptions(hyperparameters)
    how = MethodAsked(method, **{method: options})
    body = NewJob(model, "to be stored", suffix=suffix or None, seed=seed, method=how)
    asked = asked_of(body)
    body.training_file = await _stored(tuned, team, file)
    body.validation_file = None if validation is None else await _stored(tuned, team, validation)
    job = job_of(body, asked, {}, Owner(team), (name, entry.serves_at), tuned.clock.wall())
    await tuned.jobs.add(job, first_events(job))
    return job


async def _stored(tuned: Any, team: str, file: Path) -> str:
    from gateway.core.errors import BadConfiguration

    try:
        content = await asyncio.to_thread(file.read_bytes)
    except OSError as fault:
        raise BadConfiguration([f"{file}: {fault.strerror}."]) from None
    stored = await tuned.files.add(team, file.name, "fine-tune", content)
    return str(stored.id)


async def _follow(tuned: Any, job_id: str, *, quiet: bool) -> Any:
    told = -1
    while True:
        job = await _job(tuned, job_id)
        page = await tuned.jobs.events(job, 1_000, None)
        for event in reversed(page.items):
            if event.number > told and not quiet:
                at = datetime.fromtimestamp(event.at, UTC).strftime("%H:%M:%S")
                say(f"{at} {event.level:5} {event.message}")
            told = max(told, event.number)
        if job.has_ended:
            return job
        await asyncio.sleep(LOOK_SECONDS)


async def _job(tuned: Any, job_id: str) -> Any:
    from gateway.core.errors import NotFound

    job = await tuned.jobs.find(job_id)
    if job is None:
        raise NotFound(f"There is no fine-tuning job {job_id!r} here.")
    return job


def _cost(nano: int | None) -> str:
    return "cost unknown" if nano is None else f"{_usd(nano)} USD"


def _usd(nano: int | None) -> str | None:
    from gateway.core.money import usd_text

    return None if nano is None else usd_text(nano)
