"""`gateway tuning record|evaluate`: frozen sets of a line's calls, and how its versions do on one."""

import asyncio
import sys
from pathlib import Path
from typing import Any

from cyclopts import App
from cyclopts.types import ExistingFile

from gateway.cli.datasets_ledger import require_capture
from gateway.cli.output import print_json, print_table, say
from gateway.cli.tuning_place import with_tuned
from gateway.core.errors import Conflict, InvalidRequest

LOOK_SECONDS = 0.5
FAILED = 1
# Without a serving gateway nobody evaluates; that is said once.
QUIET_SECONDS = 15.0


def register(group: App) -> None:
    """Adds the commands to those of `gateway tuning`."""
    group.command(record)
    group.command(evaluate)


def record(
    line: str, *, out: Path, count: int = 200, team: str | None = None, since: str | None = None, json: bool = False
) -> None:
    """Freezes a golden set of a line's captured calls: what was asked, the answer it got, redacted.

    out: is written once; a file of other content that is there is left alone. team: whose calls, the line's owner's
    without it. Corrections stand in the answers' place; errors, cut-off answers and those said to be bad are left out.
    """
    items, left_out = with_tuned(lambda place: _recorded(place, line, team, since, count))
    from gateway.tuning.golden import golden_text, set_hash

    text, name = golden_text(items), set_hash(items)
    _write_once(out, text, name)
    if json:
        print_json({"out": str(out), "set": name, "items": len(items), "left_out": dict(left_out)})
        return
    for why, number in left_out.most_common():
        say(f"{number} left out: {why}.")
    say(f"{out}: {len(items)} items, {name}. Next: gateway tuning evaluate {line} --set {out}")


async def _recorded(place: Any, line: str, team: str | None, since: str | None, count: int) -> Any:
    from gateway.ledger.span import unix_time
    from gateway.tuning.captured.examples import rated
    from gateway.tuning.captured.values import CallsAsked
    from gateway.tuning.golden import Recording

    owner = team or (await place.changes.one(line)).line.owner
    if not owner:
        raise InvalidRequest(f"Nobody owns line {line!r}; say whose calls: --team.", param="team")
    require_capture(place, owner)
    recording = Recording()

    async def said_of(ids: Any) -> Any:
        return await place.feedback.of(owner, ids)

    asked = CallsAsked(owner, line, unix_time(since, "since") or 0.0)
    async for one in rated(place.captured.read(asked, place.clock.wall()), said_of):
        recording.add(one)
    items = recording.items(count)
    if not items:
        raise InvalidRequest(f"No captured call of {owner!r} on line {line!r} can be in a set.", param="line")
    return items, recording.left_out


def _write_once(out: Path, text: bytes, name: str) -> None:
    from gateway.cli.datasets_edit import written_whole

    if out.exists():
        if out.read_bytes() != text:
            raise Conflict(f"{out} holds another set than {name}, and a frozen set is not written over.")
        return
    with written_whole(out, replaces=False) as file:
        file.write(text)


def evaluate(
    line: str,
    *,
    set: ExistingFile,  # noqa: A002  # the option's name
    versions: str = "",
    grader: ExistingFile | None = None,
    arm: list[str] | None = None,
    team: str = "",
    json: bool = False,
) -> int:
    """Asks versions of a line, and other arms, every item of a set and grades the answers; a running gateway does it.

    set: a file of `record`, or training rows. versions: `1,2`; the champion is always one. Without them: challenger,
    newest, and those without a score by this set and grader. grader: OpenAI's JSON;
    without it labels must be equal and texts alike. arm: rag:COLLECTION:MODEL or direct:MODEL, repeated for several.
    The scores of versions are kept: `promote` decides on them. Exit 1 when an arm could not be measured:
    it failed, or more than one in a hundred of its items came to nothing. Then no score of it is kept.
    """
    content, written = set.read_bytes(), None if grader is None else grader.read_bytes()
    done = with_tuned(lambda place: _evaluated(place, line, content, versions, written, arm or [], team))
    if json:
        print_json(done)
    else:
        show_evaluated(done)
    return 0 if all(one.mean is not None for one in done.arms) else FAILED


async def _evaluated(
    place: Any, line: str, content: bytes, versions: str, grader: bytes | None, arms: list[str], team: str
) -> Any:
    from gateway.evaluating import MOST_ARMS, LineEvaluations, read_arm, version_arm
    from gateway.tuning.golden import read_golden

    items = read_golden(content)
    known = {one.version.number for one in (await place.changes.one(line)).versions}
    others = [read_arm(text) for text in arms]
    evaluations = LineEvaluations(place.database, place.changes, place.clock)
    numbers = numbers_of(versions, known)
    if not numbers:
        numbers = await evaluations.due(line, items, grader, MOST_ARMS - 1 - len(others))
    asked = [version_arm(line, number) for number in numbers] + others
    identity = await evaluations.begin(line, items, asked, grader=grader, team=team)
    return await followed(evaluations, line, identity, team, place.clock)


def numbers_of(text: str, known: Any) -> list[int]:
    """Numbers of versions as they are written, `1,2`. Raises InvalidRequest (400) for one that is none."""
    found = []
    for part in filter(None, (piece.strip().removeprefix("v") for piece in text.split(","))):
        if not part.isascii() or not part.isdigit() or int(part) not in known:
            raise InvalidRequest(f"There is no version {part!r}; there are {', '.join(map(str, sorted(known)))}.")
        found.append(int(part))
    return found


async def followed(evaluations: Any, line: str, identity: str, team: str, clock: Any) -> Any:
    """Waits for the end of an evaluation and tells on standard error how far it is."""
    began, told, warned = clock.monotonic(), "", False
    while True:
        done = await evaluations.told(line, identity, team)
        text = ", ".join(f"{one.arm.name} {one.done}/{done.items}" for one in done.arms)
        if text != told:
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()
            told = text
        if done.is_over:
            return done
        if not warned and clock.monotonic() - began > QUIET_SECONDS and not any(one.done for one in done.arms):
            warned = True
            sys.stderr.write("Nothing is evaluated yet: a serving gateway on this database does that.\n")
        await asyncio.sleep(LOOK_SECONDS)


def show_evaluated(done: Any) -> None:
    """A table of the arms, each against the champion."""
    rows = []
    for one in done.arms:
        found = one.comparison
        interval = None
        if found is not None:
            ends = "too few" if found.low is None else f"{found.low:+.3f} to {found.high:+.3f}"
            interval = f"{found.mean_difference:+.3f} ({ends})"
        mean = None if one.mean is None else f"{one.mean:.3f}"
        verdict = None if found is None else found.verdict.replace("_", " ")
        if one.mean is None:
            verdict = "not measured"
        rows.append((one.arm.name, one.arm.model, one.status, one.done, one.errors, mean, interval, verdict))
    say(f"{done.line} on {done.set_hash}, {done.items} items ({done.id})")
    columns = ("arm", "model", "state", "items", "errors", "score", "against champion (95 %)", "verdict")
    print_table(columns, rows, frozenset({"items", "errors", "score"}))
    for one in done.arms:
        if one.fault:
            say(f"{one.arm.name}: {one.fault}")
