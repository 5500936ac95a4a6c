"""`gateway policy fit`: the weights behind `task` and `knowledge`, from calls that people have labelled."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from gateway.cli.output import print_json, print_table, say
from gateway.cli.place import run, settings
from gateway.cli.policy_explain import lookups_of


def fit(
    calls: Annotated[Path, Parameter(name="--from")],
    *,
    write: bool = False,
    portable: bool = False,
    policies: Path | None = None,
    data: Path | None = None,
    json: bool = False,
) -> int:
    """Fits the weights on labelled calls and says how well they route calls that they have not seen.

    from: JSON lines, each with `messages`, `label` (fine_tuned, rag or direct), `target` (the line or collection) and
    `team`. write: puts the weights into signals.yaml of the policies folder. portable: leaves bare cosines out, so
    that the weights may serve with another embedder. Collections are searched as this gateway's library holds them.
    """
    return run(_fit(calls, policies, data, write=write, portable=portable, json=json))


async def _fit(
    calls: Path, policies: Path | None, data: Path | None, *, write: bool, portable: bool, json: bool
) -> int:
    from gateway.core.errors import BadConfiguration
    from gateway.fit import as_file, cross_validated, fit_all, gather, read_labelled, unknown_targets

    labelled = read_labelled(calls)
    async with lookups_of(policies, data) as (loaded, lookups):
        collections = list(loaded.rulebook.knowledge.collections)
        faults = unknown_targets(labelled, loaded.rulebook.policy.asks_tasks, collections)
        if faults:
            raise BadConfiguration([f"{calls}: {fault}" for fault in faults])
        gathered = []
        async for one in gather(labelled, lookups, collections, time.time()):
            gathered.append(one)
            if len(gathered) % 100 == 0 and not json:
                say(f"{len(gathered)} of {len(labelled)} calls looked up")
    before = loaded.rulebook.signals.weights()
    fits = fit_all(gathered, is_portable=portable)
    weights = fits.weights(before)
    given = cross_validated(gathered, before, is_portable=portable)
    told = _told(gathered, given)
    fitted = {
        "on": datetime.now(UTC).strftime("%Y-%m-%d"),
        "calls": len(gathered),
        "source": calls.name,
        "embedder": lookups.tasks.embedder,
        "macro_f1": {"cross_validated": told["macro_f1"]},
    }
    file = as_file(weights, loaded.rulebook.signals, fitted)
    if write:
        _write(settings(policies=policies).policies / "signals.yaml", file)
    if json:
        print_json({**told, "signals": file, "written": write})
        return 0
    _show(told, file, write=write)
    return 0


def _told(gathered: Sequence[Any], given: Sequence[tuple[str, str | None]]) -> dict[str, Any]:
    from gateway.fit import ROUTES
    from gateway.policy.fitting import f1_by_label

    wanted = [call.labelled.route for call in gathered]
    # A label that nobody gave has no F1; counting it as 0 would blame the weights for it.
    by_label = f1_by_label(wanted, [route for route, _ in given], [route for route in ROUTES if route in wanted])
    right = [
        target == call.labelled.target
        for call, (route, target) in zip(gathered, given, strict=True)
        if route == call.labelled.route != "direct"
    ]
    return {
        "calls": len(gathered),
        "macro_f1": round(sum(by_label.values()) / len(by_label), 4),
        "f1": {label: round(value, 4) for label, value in by_label.items()},
        "right_target": round(sum(right) / len(right), 4) if right else None,
    }


def _write(path: Path, file: dict[str, object]) -> None:
    import yaml

    text = "# Written by `gateway policy fit`; `task` and `knowledge` in routing.yaml score with these weights.\n"
    partial = path.with_suffix(".partial")
    partial.write_text(text + yaml.safe_dump(file, sort_keys=False, width=110), encoding="utf-8")
    # A reader sees the old file or the new one, never half of it.
    partial.replace(path)


def _show(told: dict[str, Any], file: dict[str, Any], *, write: bool) -> None:
    rows = [
        (f"{kind}, {way}", name, f"{weight:+.3f}")
        for kind in ("task", "knowledge")
        for way, model in file[kind].items()
        for name, weight in (("intercept", model["intercept"]), *model["weights"].items())
    ]
    print_table(("model", "evidence", "weight"), rows, frozenset({"weight"}))
    f1 = ", ".join(f"{label} {value:.3f}" for label, value in told["f1"].items())
    say(f"On calls not seen while fitting (5 folds of {told['calls']} calls): macro-F1 {told['macro_f1']:.3f} ({f1}).")
    if told["right_target"] is not None:
        say(f"Right line or collection where the path was right: {told['right_target']:.3f}.")
    say("Written to signals.yaml." if write else "Not written; --write puts them into signals.yaml.")
