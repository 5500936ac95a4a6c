"""What a policy may look at beside the call itself, and what must be looked up for it."""

from datetime import date

from gateway.core.values import Value

AttributeValue = str | float | bool
Attributes = tuple[tuple[str, AttributeValue], ...]


class Hit(Value, frozen=True):
    """One retrieved chunk. score: in [0, 1] as far as the store can calibrate it, best first.

    filename: what the document is called where it came from, "" when that is its title. attributes: sorted by key.
    """

    collection: str
    document: str
    version: str
    title: str
    text: str
    score: float
    url: str | None = None
    tokens: int = 0
    filename: str = ""
    attributes: Attributes = ()


Evidence = tuple[tuple[str, float], ...]


class KnowledgeSignal(Value, frozen=True):
    """What the permitted collections hold for a call's text: the best score and the hits behind it.

    evidence: for each collection named numbers that the policy's weights turn into a score; the best one counts.
    None when the score was given by hand. embedder: whose vectors took part; "" when words alone were compared.
    is_away: nobody could look; the score is then taken to be 1 for a rule that says who answers meanwhile.
    """

    score: float
    hits: tuple[Hit, ...] = ()
    version: str = ""
    evidence: tuple[tuple[str, Evidence], ...] | None = None
    embedder: str = ""
    is_away: bool = False


class TaskSignal(Value, frozen=True):
    """How much a call is like what a model line was trained on.

    evidence: named numbers that the policy's weights turn into a score; None when the score was given by hand.
    embedder: whose vectors took part; "" when words alone were compared.
    """

    line: str
    score: float = 0.0
    evidence: Evidence | None = None
    embedder: str = ""


class Facts(Value, frozen=True):
    """All that a policy may look at beside the call itself. Recorded, so that a decision can be replayed.

    now: Unix seconds. draw: a number in [0, 1) for weighted targets. budget_used: share of the team's
    monthly budget, None without one. knowledge: signals already looked up, by collections. tasks: of every line
    that a rule asks about; None when nobody looked yet.
    """

    now: float
    today: date
    draw: float
    budget_used: float | None = None
    knowledge: tuple[tuple[tuple[str, ...], KnowledgeSignal], ...] = ()
    tasks: tuple[TaskSignal, ...] | None = None

    def signal(self, collections: tuple[str, ...]) -> KnowledgeSignal | None:
        """The signal of these collections, or None when nobody looked yet."""
        for names, signal in self.knowledge:
            if names == collections:
                return signal
        return None


class NeedsKnowledge(Value, frozen=True):
    """Not a decision yet: a rule asks what these collections hold. Look it up and decide again."""

    collections: tuple[str, ...]


class NeedsTasks(Value, frozen=True):
    """Not a decision yet: a rule asks whether the call is what a line was trained for."""


Needs = NeedsKnowledge | NeedsTasks
