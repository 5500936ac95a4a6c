"""Finds the command that was asked for and turns what it raises into a line and an exit code."""

import sys
from collections.abc import Sequence

from cyclopts import App

from gateway import __version__
from gateway.cli import (
    audit,
    budgets,
    datasets,
    db,
    keys,
    knowledge,
    limits,
    members,
    policy,
    prices,
    roles,
    serve,
    teams,
    tuning,
    upstream,
    usage,
    webhooks,
)
from gateway.core.errors import BadConfiguration, GatewayError

# sysexits.h: something was found in an unconfigured or misconfigured state.
BAD_CONFIGURATION = 78
NO = 1
USAGE = 2


def build() -> App:
    """The command tree."""
    app = App(name="gateway", version=__version__, help="Switchyard: a self-hosted model gateway.")
    modules = (
        serve,
        upstream,
        policy,
        teams,
        tuning,
        keys,
        budgets,
        limits,
        roles,
        members,
        audit,
        knowledge,
        usage,
        prices,
        webhooks,
        datasets,
        db,
    )
    for module in modules:
        module.register(app)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. 0 done, 1 the answer is no, 2 usage, 78 bad configuration."""
    try:
        code = build()(arguments, exit_on_error=False, print_error=True, result_action="return_value")
    except BadConfiguration as bad:
        for fault in bad.faults:
            sys.stderr.write(fault + "\n")
        return BAD_CONFIGURATION
    except GatewayError as fault:
        sys.stderr.write(fault.message + "\n")
        return NO
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0
    except _usage_errors():
        return USAGE
    return code if isinstance(code, int) else 0


def _usage_errors() -> tuple[type[Exception], ...]:
    from cyclopts import CycloptsError

    return (CycloptsError,)
