"""`gateway policy`: check the files and run their tests; explaining and fitting stand in files of their own."""

import sys
import time
from pathlib import Path

from cyclopts import App

from gateway.cli.output import print_json, say
from gateway.cli.place import settings
from gateway.cli.policy_explain import explain
from gateway.cli.policy_fit import fit
from gateway.core.errors import BadConfiguration


def register(app: App) -> None:
    """Adds the command."""
    group = App(name="policy", help="Routing policy: check, test, explain, fit.")
    for function in (check, test, explain, fit):
        group.command(function)
    app.command(group)


def check(*, policies: Path | None = None, json: bool = False) -> int:
    """Reads every policy file and names every fault as file:line:column; exit 78 when there is one.

    Models of local embedders are loaded too.
    """
    from gateway.live import load_all, local_embedders

    folder = settings(policies=policies).policies
    try:
        loaded = load_all(folder)
        local_embedders(loaded, {})
    except BadConfiguration as bad:
        if json:
            print_json({"ok": False, "faults": bad.faults})
        else:
            sys.stderr.write("\n".join(bad.faults) + "\n")
        return 78
    rules, tests = len(loaded.rulebook.policy.rules), len(loaded.rulebook.policy.tests)
    if json:
        print_json({"ok": True, "hash": loaded.texts.hash, "rules": rules, "tests": tests, "faults": []})
    else:
        say(f"{folder}: good. {rules} rules, {tests} tests held, hash {loaded.texts.hash}.")
    return 0


def test(*, policies: Path | None = None, json: bool = False) -> int:
    """Runs the `tests:` of routing.yaml; exit 1 when one fails."""
    from gateway.policy.explain import run_tests
    from gateway.policy.load import load, read_texts

    policy = load(read_texts(settings(policies=policies).policies)).policy
    failures = run_tests(policy, time.time())
    if json:
        print_json({"tests": len(policy.tests), "failures": failures})
    else:
        for failure in failures:
            say(failure)
        say(f"{len(policy.tests) - len(failures)} of {len(policy.tests)} tests held.")
    return 1 if failures else 0
