"""`gateway tuning retrain`: a line's next version, planned, priced, trained and measured."""

import sys
from typing import Any, Literal

from cyclopts import App
from cyclopts.types import ExistingFile

from gateway.cli.output import print_json, say
from gateway.cli.place import actor
from gateway.cli.tuning_life import show_evaluated
from gateway.cli.tuning_place import with_tuned
from gateway.core.errors import InvalidRequest

CANARY_SHARE = 0.05


def register(group: App) -> None:
    """Adds the command to those of `gateway tuning`."""
    group.command(retrain)


def retrain(
    line: str,
    *,
    base: str,
    trainer: str,
    data: Literal["version", "ledger"] = "version",
    set: ExistingFile | None = None,  # noqa: A002  # the option's name
    arm: list[str] | None = None,
    epochs: int | None = None,
    team: str = "",
    dry_run: bool = False,
    yes: bool = False,
    json: bool = False,
) -> None:
    """Trains a line's next version on another base: rebuild, lint, price, upload, train, register, evaluate, propose.

    data: the rows of the champion's own dataset, or captured calls of the line. set: a frozen set to measure by;
    without it one is made of captured calls or of rows held out. arm: what else to measure, rag:COLLECTION:MODEL or
    direct:MODEL; RAG and the plain base without it. dry_run: shows the plan and its cost, and writes nothing. Asked
    for again in the same words, a plan that was stopped is gone on with. A running gateway trains and evaluates.
    """
    from gateway.tuning.retraining.values import RetrainAsked

    given = None if set is None else set.read_bytes()
    asked = RetrainAsked(line, base, trainer, team, data, tuple(arm or ()), _hash(given), epochs)
    if not dry_run and not yes:
        _confirm(with_tuned(lambda place: _work(place, asked, given, is_dry=True)))
    done = with_tuned(lambda place: _work(place, asked, given, is_dry=dry_run))
    if dry_run:
        print_json(_plain(done)) if json else _show(done)
    elif json:
        told = {"plan": done.plan, "version": done.version, "evaluated": done.evaluated, "without": done.without}
        print_json(told)
    else:
        show_evaluated(done.evaluated)
        _show_next(line, done)


def _show_next(line: str, done: Any) -> None:
    registered = f"Version {done.version} of {line!r} is registered; no call goes to it yet."
    if done.without:
        say(f"{registered} There was no champion to compare with: {done.without}.")
        say("If its score is good enough (without --force once the champion is past its shutdown date):")
    else:
        say(f"{registered} {_advice(done.evaluated)}")
        say(f"  gateway tuning canary {line} {done.version} --share {CANARY_SHARE:g}")
    say(f"  gateway tuning promote {line} {done.version}")


def _advice(evaluated: Any) -> str:
    """What the candidate's comparison, the second arm's, says of going on."""
    found = evaluated.arms[1].comparison
    verdict = "inconclusive" if found is None else found.verdict
    return {
        "worse": "It did worse than the champion, so no canary is proposed; if you want one all the same:",
        "inconclusive": "The set is too small or the difference too wide to tell; a canary tells more:",
    }.get(verdict, "It did no worse than the champion. Next, as you decide:")


def _hash(given: bytes | None) -> str:
    from gateway.tuning.golden import read_golden, set_hash

    return "" if given is None else set_hash(read_golden(given))


async def _work(place: Any, asked: Any, given: bytes | None, *, is_dry: bool) -> Any:
    from gateway.evaluating import LineEvaluations
    from gateway.rebuilding import Rebuilding
    from gateway.retraining import Retraining
    from gateway.tuning.retraining.store import RetrainPlans

    rulebook, policies = place.loaded.rulebook, place.settings.policies
    rebuilding = Rebuilding(
        place.files, place.captured, place.feedback, rulebook, place.loaded.prices, policies, place.clock
    )
    evaluations = LineEvaluations(place.database, place.changes, place.clock)
    plans = RetrainPlans(place.database)
    parts = (place.files, place.jobs, plans, place.changes, evaluations, rebuilding, rulebook, place.clock)
    retraining = Retraining(*parts, _tell)
    planned = await retraining.plan(asked, given)
    return planned if is_dry else await retraining.run(planned, actor())


def _confirm(planned: Any) -> None:
    _show(planned)
    if not sys.stdin.isatty():
        raise InvalidRequest("Nobody is there to be asked; --yes says that it shall be done.")
    sys.stdout.write("Train this? [y/N] ")
    sys.stdout.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise InvalidRequest("Nothing was done.")


def _show(planned: Any) -> None:
    from gateway.tuning.retraining.store import results_of

    asked, made = planned.asked, planned.rebuilt
    done = {} if planned.plan is None else results_of(planned.plan)
    whose = f"goes on with {planned.plan.id}, done: {', '.join(done) or 'nothing'}" if planned.plan else "is new"
    say(f"Retrain {asked.line!r} (champion v{planned.champion.number}, {planned.champion.model}); the plan {whose}.")
    mended = ", ".join(f"{code} {count}x" for code, count in made.mended)
    say(f"1 rebuild   {made.rows} rows of {made.came_from}, {made.dataset_hash}")
    lint = f"{len(made.faults)} errors, {made.warnings} warnings; mended: {mended or 'nothing'}"
    say(f"2 lint      for {asked.trainer}: {lint}")
    for fault in made.faults[:20]:
        say(f"            {fault.line}:{fault.column} {fault.code} {fault.message}")
    price = f"{_usd(made.cost_nano_usd)} for training ({made.note})"
    say(f"3 price     {made.tokens:,} tokens over {made.epochs} epochs: {price}")
    say(f"4 upload    the rows, and a frozen set of {len(made.items)} items from {made.set_came_from}, {made.set_hash}")
    say(f"5 train     {asked.base} with trainer {asked.trainer!r}, paid by {asked.team!r}")
    say(f"6 register  the model as the next version of {asked.line!r}; no call goes to it")
    arms = ", ".join(["the candidate", f"v{planned.champion.number}", *(one.name for one in planned.arms)])
    say(f"7 evaluate  {arms}")
    measured = f"{len(made.items)} items x {2 + len(planned.arms)} arms"
    say(f"            {_evaluation_calls(planned)} calls ({measured}), on top of the price above")
    if planned.ended:
        say(f"            {planned.ended}: it cannot be measured, so the candidate will be compared with no champion")
    say(f"8 propose   {'to promote it' if planned.ended else f'a canary of {CANARY_SHARE:.0%}'}")


def _plain(planned: Any) -> Any:
    made = planned.rebuilt
    return {
        "asked": planned.asked,
        "champion": planned.champion.number,
        "champion_ended": planned.ended,
        "plan": None if planned.plan is None else planned.plan.id,
        "rows": made.rows,
        "dataset_hash": made.dataset_hash,
        "faults": made.faults,
        "tokens": made.tokens,
        "epochs": made.epochs,
        "cost_nano_usd": made.cost_nano_usd,
        "note": made.note,
        "set": made.set_hash,
        "items": len(made.items),
        "arms": [one.name for one in planned.arms],
        "evaluation_calls": _evaluation_calls(planned),
    }


def _evaluation_calls(planned: Any) -> int:
    """Each item is asked of the candidate, the champion and the other arms; the price of training has none of it."""
    return len(planned.rebuilt.items) * (2 + len(planned.arms))


def _usd(nano: int | None) -> str:
    from gateway.core.money import usd_text

    return "cost unknown" if nano is None else f"{usd_text(nano)} USD"


def _tell(step: str, text: str) -> None:
    sys.stderr.write(f"{step}: {text}\n")
    sys.stderr.flush()
