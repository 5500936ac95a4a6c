"""Evals and graders of one process: all their parts."""

from collections.abc import Callable, Coroutine
from typing import Any

from gateway.core.answered import Ask
from gateway.core.call import Principal
from gateway.core.clock import Clock
from gateway.db.engine import Database
from gateway.http.local.eval_runs import Contents, EvalRuns
from gateway.http.local.evals import Evals
from gateway.http.local.graders import Graders
from gateway.http.local.surface import Also
from gateway.own_calls import OwnCalls
from gateway.tuning.evals.items.store import ItemStore
from gateway.tuning.evals.runner import Runner
from gateway.tuning.evals.runs.store import RunStore
from gateway.tuning.evals.store import EvalStore

PURPOSE = "evaluation"


class Evaluation:
    """also: what answers requests, with the first part of their paths. contents: of files that are kept here."""

    def __init__(self, database: Database, own_calls: OwnCalls, contents: Contents, clock: Clock) -> None:
        def asking(principal: Principal) -> Ask:
            return lambda path, body: own_calls.ask(principal, path, body, purpose=PURPOSE)

        runs, items = RunStore(database), ItemStore(database)
        runner = Runner(runs, items, asking, clock, own_calls.is_good)
        evals = Evals(EvalStore(database), EvalRuns(runs, items, contents, runner.wake, clock), clock)
        self.also: dict[str, Also] = {"evals": evals.serve, "graders": Graders(asking, clock).serve}
        self.works: tuple[tuple[str, Callable[[], Coroutine[Any, Any, None]]], ...] = (("evals", runner.run),)
