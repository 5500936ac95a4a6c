"""Linear models over evidence: small enough to be read, and every contribution can be told."""

import math
from collections.abc import Mapping

from gateway.core.facts import Evidence
from gateway.core.values import Value

# What weights may name, and what each number is; who gathers evidence gives exactly these (`tuning.tasks` and the
# stores of `knowledge`). `relative` ones are calibrated by the line's or collection's own texts, so they mean the
# same whatever the embedder; the others of `meaning` are bare cosines.
TASK_WORDS = {
    "same_system_prompt": "1 when the system prompt is one of the training file's, word for word",
    "has_system_prompt": "1 when the call has a system prompt",
    "system_prompt_words": "how alike the system prompt and the nearest of the training file's are, by words",
    "nearest_words": "the last user turn's mean likeness to the five nearest training examples, by words",
    "nearest_words_relative": "the same on the examples' own scale: 1 is as near as they are to each other",
    "ahead_words": "how far the line is ahead of the next best one",
    "focus_words": "nearest_words times how alike the training examples are among each other",
    "more_turns": "1 when the conversation is longer than any of the training file's",
    "different_format": "1 when JSON is asked for and the training answers are not JSON",
    "different_tools": "1 when the call brings tools and no training example does, or the other way round",
}
TASK_MEANING = {
    "system_prompt_meaning": "system_prompt_words by the embedder",
    "nearest_meaning": "nearest_words by the embedder",
    "nearest_meaning_relative": "nearest_words_relative by the embedder",
    "ahead_meaning": "ahead_words by the embedder",
    "focus_meaning": "focus_words by the embedder",
}
KNOWLEDGE_WORDS = {
    "turn_confidence": "how sure the word search is of its best passage for the last user turn",
    "turn_coverage": "how much of the turn's rare words one of the best passages holds",
    "turn_strength": "the best passage's word score; 1 is every word once",
    "turn_weight": "how much the covered words say at all",
    "talk_confidence": "turn_confidence for the last three user turns together",
    "talk_coverage": "turn_coverage for the last three user turns together",
    "talk_strength": "turn_strength for the last three user turns together",
    "talk_weight": "turn_weight for the last three user turns together",
}
KNOWLEDGE_MEANING = {
    "turn_meaning": "the last user turn's likeness to the nearest passage, by the embedder",
    "talk_meaning": "turn_meaning for the last three user turns together",
    "turn_meaning_relative": "turn_meaning between unrelated (0) and neighbouring (1) passages of the collection",
    "talk_meaning_relative": "turn_meaning_relative for the last three user turns together",
}
# Evidence that speaks against; all other speaks for. Fitted weights keep these signs, so that they can be read.
AGAINST = frozenset({"more_turns", "different_format", "different_tools"})
MOST = 30.0


class Linear(Value, frozen=True):
    """A logistic model: the logistic function of intercept + the sum of weight x evidence."""

    intercept: float
    weights: tuple[tuple[str, float], ...]

    def score(self, evidence: Evidence) -> float:
        """In [0, 1]. Evidence that no weight names counts nothing."""
        told = dict(evidence)
        logit = self.intercept + sum(weight * told.get(name, 0.0) for name, weight in self.weights)
        return 1.0 / (1.0 + math.exp(-max(-MOST, min(MOST, logit))))

    def contributions(self, evidence: Evidence) -> tuple[tuple[str, float], ...]:
        """What each named piece of evidence adds to the sum, the intercept first; their sum is the logit."""
        told = dict(evidence)
        parts = ((name, weight * told.get(name, 0.0)) for name, weight in self.weights)
        return (("intercept", self.intercept), *parts)


class Weights(Value, frozen=True):
    """The models of a policy: for each signal one on words alone, and one for when an embedder took part."""

    task_words: Linear
    task_meaning: Linear
    knowledge_words: Linear
    knowledge_meaning: Linear

    def of_task(self, embedder: str) -> Linear:
        """The model for a task signal made with this embedder; "" is words alone."""
        return self.task_meaning if embedder else self.task_words

    def of_knowledge(self, embedder: str) -> Linear:
        """The model for a knowledge signal made with this embedder; "" is words alone."""
        return self.knowledge_meaning if embedder else self.knowledge_words


def linear(intercept: float, weights: Mapping[str, float]) -> Linear:
    """A model from a mapping; its order is kept."""
    return Linear(intercept, tuple(weights.items()))
