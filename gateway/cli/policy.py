"""`gateway policy`: runs the tests of the files; its other commands stand in files of their own."""

import time
from pathlib import Path

from cyclopts import App

from gateway.cli.output import print_json, say
from gateway.cli.place import settings
from gateway.cli.policy_check import check
from gateway.cli.policy_explain import explain
from gateway.cli.policy_fit import fit
from gateway.cli.policy_schema import schema


def register(app: App) -> None:
    """Adds the command."""
    group = App(name="policy", help="Routing policy: check, test, explain, fit, schema.")
    for function in (check, test, explain, fit, schema):
        group.command(function)
    app.command(group)


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
