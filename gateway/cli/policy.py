"""`gateway policy`: check the files, run their tests, explain one call."""

import sys
import time
from pathlib import Path

from cyclopts import App

from gateway.cli.output import print_json, print_table, say
from gateway.cli.place import settings
from gateway.core.errors import BadConfiguration


def register(app: App) -> None:
    """Adds the command."""
    group = App(name="policy", help="Routing policy: check, test, explain.")
    for function in (check, test, explain):
        group.command(function)
    app.command(group)


def check(*, policies: Path | None = None, json: bool = False) -> int:
    """Reads every policy file and names every fault as file:line:column; exit 78 when there is one."""
    from gateway.live import load_all

    folder = settings(policies=policies).policies
    try:
        loaded = load_all(folder)
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


def explain(
    *,
    team: str,
    text: str = "",
    model: str = "auto",
    endpoint: str = "chat",
    key: str = "test",
    header: list[str] | None = None,
    metadata: list[str] | None = None,
    tools: bool = False,
    prompt_tokens: int | None = None,
    knowledge_score: float | None = None,
    policies: Path | None = None,
    json: bool = False,
) -> int:
    """Says where a call would go and why, without sending it.

    header, metadata: name=value, may be repeated. knowledge_score: what retrieval is taken to have found.
    """
    from pydantic import ValidationError

    from gateway.live import load_all
    from gateway.policy.explain import explain_entry
    from gateway.policy.routing_file import CallEntry

    policy = load_all(settings(policies=policies).policies).rulebook.policy
    try:
        entry = CallEntry.model_validate(
            {
                "team": team,
                "key": key,
                "model": model,
                "endpoint": endpoint,
                "text": text,
                "headers": _pairs(header),
                "metadata": _pairs(metadata),
                "has_tools": tools,
                "prompt_tokens": prompt_tokens,
                "knowledge_score": knowledge_score,
            }
        )
    except (ValidationError, ValueError) as fault:
        sys.stderr.write(f"{fault}\n")
        return 2
    told = explain_entry(policy, entry, time.time())
    if json:
        print_json(told)
        return 0
    rows = [
        (step["rule"], "held" if step["held"] else f"{step['failed']} (saw {step['saw']!r})") for step in told.steps
    ]
    print_table(("rule", "what happened"), rows)
    if told.refusal is not None:
        say(f"refused: {told.refusal}")
        return 0
    line = f", line {told.line}@v{told.version}" if told.line else ""
    say(f"path {told.path}, model {told.model} at {told.upstream}{line}" + _with(told.collections, told.fallbacks))
    return 0


def _with(collections: list[str], fallbacks: list[str]) -> str:
    text = f", collections {', '.join(collections)}" if collections else ""
    return text + (f", then {', '.join(fallbacks)}" if fallbacks else "")


def _pairs(written: list[str] | None) -> dict[str, str]:
    pairs = {}
    for pair in written or []:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"{pair!r} must be name=value")
        pairs[name] = value
    return pairs
