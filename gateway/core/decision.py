"""A decision: which way a call goes, and why."""

from datetime import date
from typing import Literal

from gateway.core.values import Value

Path = Literal["fine_tuned", "rag", "direct", "passthrough"]
OnNoMatch = Literal["abstain", "direct"]


class Arm(Value, frozen=True):
    """One way a call can go: a path, and the model at an upstream that answers.

    model: the id sent upstream. line, version: set when that id is a tuned model of a line.
    collections: what RAG searches; empty on other paths.
    """

    path: Path
    upstream: str
    model: str
    line: str | None = None
    version: int | None = None
    collections: tuple[str, ...] = ()
    on_no_match: OnNoMatch = "direct"


class Step(Value, frozen=True):
    """One rule in a trace: it held (failed is None), or the first condition that did not."""

    rule: str
    failed: str | None = None


Trace = tuple[tuple[int, int], ...]


class Names(Value, frozen=True, cache_hash=True):
    """What conditions that compare for equality may look at. Of metadata and headers only what the policy names."""

    endpoint: str
    team: str
    key: str
    model: str
    has_tools: bool
    asked_path: str | None
    metadata: tuple[tuple[str, str], ...]
    headers: tuple[tuple[str, str], ...]


class CallLimits(Value, frozen=True):
    """What a rule says of one call's waiting, in seconds; None leaves what the upstream's own entry says.

    connect, first_byte, first_token, between, total: of each attempt. deadline: of the whole call, every attempt,
    pause and fallback together. attempts: how many may be sent for the call, over all arms.
    """

    connect_seconds: float | None = None
    first_byte_seconds: float | None = None
    first_token_seconds: float | None = None
    between_seconds: float | None = None
    total_seconds: float | None = None
    deadline_seconds: float | None = None
    attempts: int | None = None


class Decision(Value, frozen=True):
    """Where a call goes. arms[0] was chosen; the others are fallbacks, in order.

    trace: the number of the rule that held with -1, last; before it, of rules that failed at another place than
    their first condition that looks at more than names, the number and that place. `Policy.steps` gives the whole
    story in words.
    names: what the rules compared, for a replay. successor_of: the line whose end moved the call here.
    refusal: what the caller is told when a rule refuses; there are no arms then. limits: the rule's own waiting.
    """

    id: str
    rule: str
    arms: tuple[Arm, ...]
    trace: Trace
    policy_hash: str
    names: Names
    successor_of: str | None = None
    refusal: str | None = None
    limits: CallLimits | None = None

    @property
    def arm(self) -> Arm:
        """The chosen arm."""
        return self.arms[0]


class Hit(Value, frozen=True):
    """One retrieved chunk. score: in [0, 1] as far as the store can calibrate it, best first."""

    collection: str
    document: str
    version: str
    title: str
    text: str
    score: float
    url: str | None = None
    tokens: int = 0


class KnowledgeSignal(Value, frozen=True):
    """What the permitted collections hold for a call's text: the best score and the hits behind it."""

    score: float
    hits: tuple[Hit, ...] = ()
    version: str = ""


class Facts(Value, frozen=True):
    """All that a policy may look at beside the call itself. Recorded, so that a decision can be replayed.

    now: Unix seconds. draw: a number in [0, 1) for weighted targets. budget_used: share of the team's
    monthly budget, None without one. knowledge: signals already looked up, by collections.
    """

    now: float
    today: date
    draw: float
    budget_used: float | None = None
    knowledge: tuple[tuple[tuple[str, ...], KnowledgeSignal], ...] = ()

    def signal(self, collections: tuple[str, ...]) -> KnowledgeSignal | None:
        """The signal of these collections, or None when nobody looked yet."""
        for names, signal in self.knowledge:
            if names == collections:
                return signal
        return None


class NeedsKnowledge(Value, frozen=True):
    """Not a decision yet: a rule asks what these collections hold. Look it up and decide again."""

    collections: tuple[str, ...]
