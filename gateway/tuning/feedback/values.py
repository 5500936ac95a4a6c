"""Feedback as it is kept."""

from typing import Literal

from gateway.core.values import Value

Sentiment = Literal["positive", "negative", "neutral"]


class Feedback(Value, frozen=True):
    """What a team said of an answer. score: from -1 to 1. corrected: what the answer should have been, "" for nothing.

    A call has one: saying it again replaces what was said. line, version, model: what had answered. at: Unix seconds,
    of the feedback; called_at: of the call.
    """

    call_id: str
    decision_id: str
    team: str
    key_id: str
    at: float
    called_at: float
    score: float
    comment: str
    corrected: str
    line: str | None
    version: int | None
    model: str

    @property
    def sentiment(self) -> Sentiment:
        """Which way it points."""
        return "positive" if self.score > 0 else "negative" if self.score < 0 else "neutral"


class Rated(Value, frozen=True):
    """calls: that anything was said of; negatives: of these, those that were said to be bad."""

    calls: int
    negatives: int
