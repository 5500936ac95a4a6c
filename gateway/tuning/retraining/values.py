"""Plans of retraining as they are kept."""

from typing import Literal

from gateway.core.values import Value

Step = Literal["rebuild", "lint", "price", "upload", "train", "register", "evaluate", "propose"]
STEPS: tuple[Step, ...] = ("rebuild", "lint", "price", "upload", "train", "register", "evaluate", "propose")
State = Literal["open", "done", "given_up"]


class RetrainAsked(Value, frozen=True):
    """What a retraining was asked for: the same again, while its plan is open, is the same plan.

    data: where rows come from, `version` (the champion's own dataset) or `ledger` (captured calls). arms: further ways
    to answer, as `evaluate` takes them. set_hash: of the frozen set that was given, "" for one that is made. epochs:
    None leaves them to the trainer.
    """

    line: str
    base: str
    trainer: str
    team: str
    data: Literal["version", "ledger"]
    arms: tuple[str, ...] = ()
    set_hash: str = ""
    epochs: int | None = None


class RetrainPlan(Value, frozen=True):
    """A plan. done: JSON, what came of each step that is done. error: why it was given up. Times are Unix seconds.

    Ids of what its steps make (files, the job, the evaluation) follow from its own, so a step that is done again
    after a crash finds what it made.
    """

    id: str
    line: str
    actor: str
    arguments: str
    state: State
    done: str
    error: str
    created_at: float
    updated_at: float
