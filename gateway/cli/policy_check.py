"""`gateway policy check`: what is wrong with the policy files, and what is odd about them."""

import asyncio
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gateway.cli.output import print_json, say
from gateway.cli.place import run, settings
from gateway.core.errors import BadConfiguration
from gateway.core.settings import Settings

FAULTS = 78


def check(*, policies: Path | None = None, strict: bool = False, days: int = 60, json: bool = False) -> int:
    """Reads every policy file and says everything that is wrong or odd, as file:line:column; 78 for a fault.

    Training files of rules that ask for a task, and models of local embedders, are read too. strict: a warning (not a
    note) makes it exit 1. days: how long before its shutdown date a line is spoken of.
    """
    from gateway.core.clock import utc_day
    from gateway.live import load_all, oddities

    found = settings(policies=policies)
    try:
        loaded = load_all(found.policies, None, found.data)
        _try_files(loaded)
    except BadConfiguration as bad:
        if json:
            print_json({"ok": False, "hash": None, "rules": 0, "tests": 0, "faults": bad.faults, "warnings": []})
        else:
            sys.stderr.write("\n".join(bad.faults) + "\n")
        return FAULTS
    odd = oddities(loaded, utc_day(time.time()), run(_teams(found)), days)
    warnings = sum(one.severity == "warning" for one in odd)
    is_good = not (strict and warnings)
    rules, tests = len(loaded.rulebook.policy.rules), len(loaded.rulebook.policy.tests)
    if json:
        counts: Mapping[str, Any] = {"hash": loaded.texts.hash, "rules": rules, "tests": tests}
        print_json({"ok": is_good, **counts, "faults": [], "warnings": odd})
        return 0 if is_good else 1
    for one in odd:
        say(f"{one.place}: {one.severity}: {one.message}")
    told = f"{found.policies}: good. {rules} rules, {tests} tests held, hash {loaded.texts.hash}."
    say(told + (f" Warnings: {warnings}; notes: {len(odd) - warnings}." if odd else ""))
    return 0 if is_good else 1


def _try_files(loaded: Any) -> None:
    """Reads what the policy files name beside themselves. Raises BadConfiguration with all faults."""
    from gateway.live import examples_of
    from gateway.live_knowledge import local_embedders

    faults: list[str] = []
    tries: tuple[Callable[[], object], ...] = (lambda: local_embedders(loaded, {}), lambda: examples_of(loaded))
    for attempt in tries:
        try:
            attempt()
        except BadConfiguration as bad:
            faults += bad.faults
    if faults:
        raise BadConfiguration(faults)


async def _teams(found: Settings) -> frozenset[str]:
    """The teams in the database, if there is one; it is neither made nor changed for a check."""
    from gateway.db.engine import Database
    from gateway.db.schema import revision
    from gateway.identity.store import IdentityStore

    scheme, _, file = found.database_url.partition(":///")
    if scheme.startswith("sqlite") and not await asyncio.to_thread(Path(file).is_file):
        return frozenset()
    database = Database(found.database_url)
    try:
        if await revision(database) is None:
            return frozenset()
        return frozenset(team.name for team in await IdentityStore(database, b"").teams())
    except BadConfiguration as bad:
        sys.stderr.write(f"Teams are not checked: {bad.faults[0]}\n")
        return frozenset()
    finally:
        await database.close()
