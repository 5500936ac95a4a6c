"""A decision: which way a call goes, and why."""

from typing import Literal

from gateway.core.values import Value

Path = Literal["fine_tuned", "rag", "direct", "passthrough"]
OnNoMatch = Literal["abstain", "direct", "clarify", "fallback"]


class Grounding(Value, frozen=True):
    """What a rule wants of an answer's sources.

    least: of the answer's support; None wants none. numbers: what a number means that stands in no source: nothing
    (`warn` says so all the same) or that the answer is not grounded (`require`). action: on one that is not.
    """

    least: float | None = None
    numbers: Literal["warn", "require"] = "warn"
    action: Literal["annotate", "retry", "fallback", "refuse"] = "annotate"


class RagTerms(Value, frozen=True):
    """What a rule says of answers from sources beside where they are looked for.

    no_match_reply: whether abstaining and asking back are said by us, or by the model that is told to. no_match_text:
    '' for our own words. store_down: who answers, without sources, while they cannot be searched; None for nobody.
    judge: who looks at a share of the answers after the reply. match_over: the score of the best hit below which
    nothing counts as found; None for the usual one.
    """

    no_match_reply: Literal["fixed", "instructed"] = "fixed"
    no_match_text: str = ""
    store_down: "Arm | None" = None
    grounding: Grounding | None = None
    judge: "Arm | None" = None
    judge_share: float = 0.0
    match_over: float | None = None


class Arm(Value, frozen=True):
    """One way a call can go: a path, and the model at an upstream that answers.

    model: the id sent upstream. line, version: set when that id is a tuned model of a line.
    collections: what RAG searches; empty on other paths. terms: of RAG; None for the usual ones.
    successor: who answers in its place when its provider says that the model is gone. successor_of: the line in whose
    place it would answer so. is_canary: a line's challenger on trial; whatever goes wrong there, the next arm answers.
    """

    path: Path
    upstream: str
    model: str
    line: str | None = None
    version: int | None = None
    collections: tuple[str, ...] = ()
    on_no_match: OnNoMatch = "direct"
    terms: RagTerms | None = None
    successor: "Arm | None" = None
    successor_of: str | None = None
    is_canary: bool = False


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


class Features(Value, frozen=True):
    """What conditions may look at of a call's messages, without their words.

    characters: of the last user turn. prompt_tokens: estimated. turns: messages, system prompts not counted.
    matched: the policy's text patterns found in the last user turn, by number; None when no rule asked.
    language: ISO 639-1 code, "" when it cannot be told, None when no rule asked.
    """

    characters: int
    prompt_tokens: int
    turns: int
    has_image: bool
    response_format: str
    matched: tuple[int, ...] | None = None
    language: str | None = None


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


class Parameters(Value, frozen=True):
    """What a rule says of a call's parameters, by their chat names (`max_tokens`, `temperature`).

    defaults: set where the caller says nothing. caps: the most that goes upstream; one on `max_tokens` is also
    set where the caller says nothing.
    """

    defaults: tuple[tuple[str, float], ...] = ()
    caps: tuple[tuple[str, float], ...] = ()


class Shadow(Value, frozen=True):
    """A copy of the call to another arm, made after the reply and booked to nobody's budget.

    monthly_nano_usd: where the copies of this rule end for the month.
    """

    arm: Arm
    monthly_nano_usd: int


class Trial(Value, frozen=True):
    """A call that a line's canary may have: its challenger answers when `drawn` is below `share`.

    champion, challenger: numbers of versions. drawn: the share of [0, 1) that this call came to.
    """

    line: str
    champion: int
    challenger: int
    share: float
    drawn: float

    @property
    def is_drawn(self) -> bool:
        """Whether the challenger answers."""
        return self.drawn < self.share


class SignalScore(Value, frozen=True):
    """What a signal came to by the policy's weights.

    kind: `task` or `knowledge`. of: the line or the collections. contributions: what each piece of evidence adds to the
    sum that the logistic function makes the score of, the intercept first; none when the score was given by hand.
    """

    kind: str
    of: str
    score: float
    embedder: str = ""
    contributions: tuple[tuple[str, float], ...] = ()


class Decision(Value, frozen=True):
    """Where a call goes. arms[0] was chosen; the others are fallbacks, in order.

    trace: the number of the rule that held with -1, last; before it, of rules that failed at another place than
    their first condition that looks at more than names, the number and that place. `Policy.steps` gives the whole
    story in words.
    names, features: what the rules may look at of the call, for a replay. draw: the share of [0, 1) that chose among
    weighted targets. successor_of: the line whose end moved the call here. refusal: what the caller is told when a
    rule refuses; there are no arms then. limits: the rule's own waiting. others: the arms among the rule's
    targets that the draw did not choose. scores: of the signals that were looked up. trial: of the line's canary.
    """

    id: str
    rule: str
    arms: tuple[Arm, ...]
    trace: Trace
    policy_hash: str
    names: Names
    features: Features
    draw: float = 0.0
    successor_of: str | None = None
    refusal: str | None = None
    limits: CallLimits | None = None
    parameters: Parameters | None = None
    shadow: Shadow | None = None
    others: tuple[Arm, ...] = ()
    scores: tuple[SignalScore, ...] = ()
    trial: Trial | None = None

    @property
    def arm(self) -> Arm:
        """The chosen arm."""
        return self.arms[0]
