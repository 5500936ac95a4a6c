"""`gateway tuning`: fine-tuned models as lines."""

from typing import Any

from cyclopts import App

from gateway.cli import tuning_import, tuning_life, tuning_retrain
from gateway.cli.output import print_json, print_table, say
from gateway.cli.place import actor
from gateway.cli.tuning_jobs import cancel, jobs, start, watch
from gateway.cli.tuning_place import with_tuned
from gateway.cli.tuning_stale import stale, trials
from gateway.core.errors import InvalidRequest


def register(app: App) -> None:
    """Adds the command."""
    group = App(name="tuning", help="Fine-tuned models as lines: jobs, versions, promotion.")
    group.command(start)
    group.command(watch)
    group.command(jobs)
    group.command(cancel)
    group.command(list_, name="list")
    group.command(show)
    group.command(create)
    group.command(add)
    group.command(promote)
    group.command(rollback)
    group.command(canary)
    group.command(remove)
    group.command(successor)
    group.command(stale)
    group.command(trials)
    tuning_import.register(group)
    tuning_life.register(group)
    tuning_retrain.register(group)
    app.command(group)


def list_(*, json: bool = False) -> None:
    """Lists lines: champion, challenger, shutdown date."""
    found = with_tuned(lambda tuned: tuned.changes.all())
    if json:
        print_json(found)
        return
    rows = []
    for one in found:
        versions = {shown.version.number: shown.version for shown in one.versions}
        champion = versions[one.line.champion]
        challenger = one.line.challenger
        trial = None if challenger is None else f"v{challenger} {one.line.canary:.0%}"
        numbers = f"v{one.line.champion} of {len(versions)}"
        rows.append((one.line.name, one.kept_in, numbers, champion.model, trial, champion.shutdown_date))
    print_table(("line", "kept in", "champion", "model", "challenger", "shutdown"), rows)


def show(line: str, *, json: bool = False) -> None:
    """Shows a line with all its versions and what was changed of it."""

    async def work(tuned: Any) -> Any:
        return await tuned.changes.one(line), await tuned.lines.events(line, 20)

    found, events = with_tuned(work)
    if json:
        print_json({"line": found, "events": events})
        return
    say(f"{line} (kept in {found.kept_in}, owner {found.line.owner or 'nobody'}, revision {found.line.revision})")
    rows = [
        (
            f"v{shown.version.number}",
            ", ".join(shown.aliases) or None,
            shown.version.model,
            shown.version.base,
            shown.version.dataset_hash or None,
            shown.version.job_id or None,
            f"{shown.scores[0][1]:.3f}" if shown.scores else None,
            shown.version.shutdown_date,
        )
        for shown in found.versions
    ]
    columns = ("version", "alias", "model", "base", "dataset", "job", "score", "shutdown")
    print_table(columns, rows, frozenset({"score"}))
    for event in events:
        say(f"r{event.revision} {event.action} by {event.actor}: {event.detail}")


def create(
    line: str,
    *,
    team: str,
    job: str = "",
    model: str = "",
    upstream: str = "",
    base: str = "",
    training_file: str = "",
    shutdown_date: str | None = None,
    notes: str = "",
    also: list[str] | None = None,
    json: bool = False,
) -> None:
    """Creates a line with its first version: the model of a job here, or a model with its base.

    team: who owns it and may call it. also: other teams that may. training_file: what `task:` rules compare calls with.
    """
    new = _new_version(job, model, upstream, base, training_file, shutdown_date, notes)
    made = with_tuned(lambda tuned: tuned.changes.create(line, team, new, actor(), tuple(also or ())))
    if json:
        print_json(made)
    else:
        say(f"Line {line!r} created; `{line}` answers with its version 1 within a second.")


def add(
    line: str,
    *,
    job: str = "",
    model: str = "",
    upstream: str = "",
    base: str = "",
    training_file: str = "",
    shutdown_date: str | None = None,
    notes: str = "",
    json: bool = False,
) -> None:
    """Adds a version to a line; no call goes to it before it is promoted or on trial."""
    new = _new_version(job, model, upstream, base, training_file, shutdown_date, notes)
    made = with_tuned(lambda tuned: tuned.changes.add(line, new, actor()))
    if json:
        print_json(made)
    else:
        say(f"Version {made.number} of {line!r} is {made.model}.")


def promote(
    line: str, version: int, *, force: bool = False, margin: float = 0.02, reason: str = "", json: bool = False
) -> None:
    """Makes a version the champion, if it did not do worse than the champion on the same frozen set.

    margin: how much worse still passes, of scores from 0 to 1; above 0.05 only with force. force: whatever the gate
    says; it is noted.
    """
    done = with_tuned(
        lambda tuned: tuned.changes.promote(line, version, actor(), is_forced=force, margin=margin, reason=reason)
    )
    if json:
        print_json(done)
        return
    say(f"Version {version} is the champion of {line!r}, on all workers within a second.")
    say(f"Gate: {done.gate.reason}{' (forced)' if done.was_forced else ''}")


def rollback(line: str, *, reason: str = "", json: bool = False) -> None:
    """Brings the champion of before the last promotion back."""
    done = with_tuned(lambda tuned: tuned.changes.rollback(line, actor(), reason))
    if json:
        print_json(done)
    else:
        say(f"Version {done.champion} is the champion of {line!r} again.")


def canary(line: str, version: int | None = None, *, share: float = 0.0, reason: str = "", json: bool = False) -> None:
    """Has a version answer a share (0 to 1) of the champion's calls; without a version it ends that."""
    done = with_tuned(lambda tuned: tuned.changes.canary(line, version, share, actor(), reason))
    if json:
        print_json(done)
    elif done.canary:
        say(f"Version {done.challenger} of {line!r} answers {done.canary:.1%} of the calls.")
    else:
        say(f"Nothing of {line!r} is on trial.")


def successor(
    line: str,
    *,
    to_line: str | None = None,
    model: str | None = None,
    collections: list[str] | None = None,
    none: bool = False,
    json: bool = False,
) -> None:
    """Says where a line's calls go once its champion has ended: another line, a model, or a model with documents.

    to_line: a line, or `line@v2`. model: a base model; with collections it answers from those. none: nowhere.
    """
    from pydantic import ValidationError

    from gateway.policy.models_file import SuccessorEntry

    path = "fine_tuned" if to_line else "rag" if collections else "direct"
    given = {"path": path, "line": to_line, "model": model, "collections": collections or []}
    try:
        entry = None if none else SuccessorEntry.model_validate(given)
    except ValidationError as fault:
        raise InvalidRequest(str(fault.errors()[0]["msg"])) from None
    done = with_tuned(lambda tuned: tuned.changes.succeed(line, entry, actor()))
    if json:
        print_json(done)
    else:
        say(f"Once {line!r} has ended its calls go to {to_line or model or 'nobody'}.")


def remove(line: str, *, json: bool = False) -> None:
    """Takes a line out of the registry; one that models.yaml has too is then as that file has it."""
    done = with_tuned(lambda tuned: tuned.changes.remove(line, actor()))
    if json:
        print_json(done)
    else:
        say(f"Line {line!r} is out of the registry, on all workers within a second.")


def _new_version(
    job: str, model: str, upstream: str, base: str, training_file: str, shutdown_date: str | None, notes: str
) -> Any:
    from gateway.registry import NewVersion

    return NewVersion(job, model, upstream, base, training_file, shutdown_date, notes)
