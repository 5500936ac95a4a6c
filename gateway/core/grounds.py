"""What an answer stands on: the documents in its prompt, how far they bear it, and what was looked for in vain."""

from typing import Literal

from gateway.core.values import Value

GapKind = Literal["no_match", "low_support"]


class UsedSource(Value, frozen=True):
    """A document in an answer's prompt. version: the one that the prompt had. cited: None when nobody can tell."""

    collection: str
    document: str
    version: str
    cited: bool | None = None


class Gap(Value, frozen=True):
    """A question that the collections did not answer. at: Unix seconds, the same in every record of the call.

    question: '' where a collection keeps none. score: the best hit's, or the answer's support for `low_support`.
    outcome: what was done about it, such as `abstain`.
    """

    at: float
    collections: tuple[str, ...]
    kind: GapKind
    question: str
    score: float | None
    outcome: str


class Support(Value, frozen=True):
    """How far sources bear an answer. score: the share of its words, by rarity, that they hold; None without words.

    missing_numbers: numbers of the answer that stand in no source. is_enough: by the rule's own measure.
    """

    score: float | None
    missing_numbers: tuple[str, ...] = ()
    is_enough: bool = True


class Grounds(Value, frozen=True):
    """All of it, of one attempt. unknown_citations: markers taken out because they named no source."""

    sources: tuple[UsedSource, ...] = ()
    gap: Gap | None = None
    support: Support | None = None
    unknown_citations: int = 0

    def before_the_answer(self) -> "Grounds":
        """The same as long as nothing was said: what will be cited nobody can tell."""
        sources = [UsedSource(one.collection, one.document, one.version) for one in self.sources]
        return Grounds(tuple(sources), self.gap)
