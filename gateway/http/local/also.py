"""What else is answered here, by asking models on a team's account: evals and graders, batches; and feedback."""

from collections.abc import Callable, Coroutine
from typing import Any

from gateway.core.clock import Clock
from gateway.db.engine import Database
from gateway.http.local.batching import Batching
from gateway.http.local.captured import Captured
from gateway.http.local.evaluation import Evaluation
from gateway.http.local.shelf import Shelf
from gateway.own_calls import OwnCalls
from gateway.pipeline import Pipeline
from gateway.tuned import Tuned

Work = Callable[[], Coroutine[Any, Any, None]]


class AlsoAnswered:
    """own_calls: asks for a team without its key. works: what is to run for as long as the process does."""

    def __init__(
        self, database: Database, pipeline: Pipeline, shelf: Shelf, tuned: Tuned, captured: Captured, clock: Clock
    ) -> None:
        self.own_calls = OwnCalls(pipeline, clock)
        evaluation = Evaluation(database, self.own_calls, shelf.contents, clock)
        batching = Batching(database, tuned, self.own_calls, pipeline, clock)
        shelf.surface.also |= evaluation.also | captured.also | batching.also
        self.works: tuple[tuple[str, Work], ...] = (*evaluation.works, *captured.works, *batching.works)
