"""policies/signals.yaml: the weights behind `task` and `knowledge`, as `gateway policy fit` writes them.

Without the file the weights that come with the gateway are in force, and are kept with the policy just the same: a
decision is replayed with the weights that made it, whatever later versions bring.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from gateway.core.document import Written
from gateway.policy.weights import (
    KNOWLEDGE_MEANING,
    KNOWLEDGE_WORDS,
    TASK_MEANING,
    TASK_WORDS,
    Linear,
    Weights,
    linear,
)

BUILT_IN = Path(__file__).with_name("signals.yaml")


def _only(*families: dict[str, str]) -> Any:
    known = [name for family in families for name in family]

    def check(weights: dict[str, float]) -> dict[str, float]:
        for name in weights:
            if name not in known:
                raise ValueError(f"{name!r} is no evidence; there are {', '.join(known)}")
        return weights

    return AfterValidator(check)


# Past this a weight decides alone, and sums could leave what floating point can hold.
Weight = Annotated[float, Field(ge=-1e6, le=1e6)]


class _LinearEntry(Written):
    intercept: Weight

    def model(self) -> Linear:
        """The same as a value."""
        return linear(self.intercept, getattr(self, "weights", {}))


class TaskWordsEntry(_LinearEntry):
    """Weights of words alone."""

    weights: Annotated[dict[str, Weight], _only(TASK_WORDS)]


class TaskMeaningEntry(_LinearEntry):
    """Weights of words and an embedder together."""

    weights: Annotated[dict[str, Weight], _only(TASK_WORDS, TASK_MEANING)]


class KnowledgeWordsEntry(_LinearEntry):
    """Weights of words alone."""

    weights: Annotated[dict[str, Weight], _only(KNOWLEDGE_WORDS)]


class KnowledgeMeaningEntry(_LinearEntry):
    """Weights of words and an embedder together."""

    weights: Annotated[dict[str, Weight], _only(KNOWLEDGE_WORDS, KNOWLEDGE_MEANING)]


class TaskEntry(Written):
    """The models behind `task`."""

    words: TaskWordsEntry
    meaning: TaskMeaningEntry


class KnowledgeEntry(Written):
    """The models behind `knowledge`."""

    words: KnowledgeWordsEntry
    meaning: KnowledgeMeaningEntry


class FittedEntry(Written):
    """What the weights were fitted on, for whoever reads the file; nothing depends on it."""

    on: str
    calls: Annotated[int, Field(ge=0)]
    source: str = ""
    embedder: str = ""
    macro_f1: dict[str, float] = {}


class SignalsFile(Written):
    """The whole file. embedder: of knowledge.yaml; compares system prompts and turns with training examples."""

    embedder: str | None = None
    task: TaskEntry
    knowledge: KnowledgeEntry
    fitted: FittedEntry | None = None

    def weights(self) -> Weights:
        """The same as values."""
        return Weights(
            task_words=self.task.words.model(),
            task_meaning=self.task.meaning.model(),
            knowledge_words=self.knowledge.words.model(),
            knowledge_meaning=self.knowledge.meaning.model(),
        )
