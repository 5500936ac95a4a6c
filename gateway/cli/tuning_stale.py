"""`gateway tuning stale`: tuned models that will be shut down."""

from typing import Any

from gateway.cli.output import print_json, print_table, say
from gateway.cli.tuning_place import with_tuned

NANO = 1_000_000_000


def stale(*, within: str = "90d", fail: bool = False, json: bool = False) -> int:
    """Shows tuned models, the soonest end first: days left, who says so, last 30 days' calls and cost, ways on.

    within: mark those that end within so many days (90d). fail: exit 1 when there is one.
    """
    days = days_of(within)
    found = with_tuned(lambda place: place.stale(days))
    if json:
        print_json(found)
    else:
        _print(found)
    return 1 if fail and any(one.is_within for one in found) else 0


def trials(*, json: bool = False) -> None:
    """Shows the canaries: what was seen of champion and challenger, and the evidence that the challenger is worse."""
    from gateway.canaries import evidence_of

    found = with_tuned(lambda place: place.trials())
    if json:
        print_json([{"standing": one, "evidence": evidence_of(one)} for one in found])
        return
    rows = []
    for one in found:
        for number, seen in ((one.key.champion, one.champion), (one.key.challenger, one.challenger)):
            name = f"{one.key.line}@v{number}"
            rows.append((name, seen.calls, seen.errors, seen.malformed, seen.disliked, seen.slow))
    columns = ("version", "calls", "errors", "malformed", "disliked", "slow")
    print_table(columns, rows, frozenset(columns[1:]))
    for one in found:
        worst = max(evidence_of(one), key=lambda measure: measure.log_evidence)
        held = "; it has held out" if one.held_at is not None else ""
        say(
            f"{one.key.line}: most against v{one.key.challenger} is {worst.measure}: {worst.log_evidence:.2f} of "
            f"{worst.threshold:.2f} that take it back{held}"
        )


def days_of(text: str) -> int:
    """Days from `90d` or `90`. Raises InvalidRequest."""
    from gateway.core.errors import InvalidRequest

    number = text.removesuffix("d")
    if not number.isascii() or not number.isdigit():
        raise InvalidRequest(f"within is {text!r}; it must be days, such as 90d.", param="within")
    return int(number)


def _print(found: list[Any]) -> None:
    rows = [
        (
            "!" if one.is_within else "",
            one.line,
            one.model,
            one.base or None,
            one.day,
            one.days_left,
            one.calls,
            f"{one.cost_nano_usd / NANO:.4f}",
            one.source,
        )
        for one in found
    ]
    columns = ("", "line", "model", "base", "ends", "days left", "calls 30d", "USD 30d", "by")
    print_table(columns, rows, frozenset({"days left", "calls 30d", "USD 30d"}))
    for one in found:
        name = one.line or one.model
        if one.contradicts:
            say(f"{name}: sources differ: {'; '.join(f'{source} says {day}' for source, day in one.said)}")
        for team in one.teams:
            unpriced = f", {team.unpriced} without a price" if team.unpriced else ""
            say(f"{name}: team {team.team}: {team.calls} calls, {team.cost_nano_usd / NANO:.6f} USD{unpriced}")
        for way in one.ways if one.is_within else ():
            say(f"{name}: {way}")
