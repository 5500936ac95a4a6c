"""Model lines as they are kept."""

from gateway.core.values import Value


class Line(Value, frozen=True):
    """A line. previous: the champion before this one. canary: the challenger's share of the champion's calls.

    teams: JSON list of who may call it, empty for all. successor: JSON as in models.yaml. revision: counts changes.
    """

    name: str
    owner: str
    champion: int
    challenger: int | None
    previous: int | None
    canary: float
    teams: str
    successor: str | None
    revision: int
    created_at: float


class Version(Value, frozen=True):
    """One tuned model of a line, as it was made. hyperparameters: what they came to, JSON; checkpoints: JSON list.

    parent: the version it goes on from. training_file: of the files kept here, or a path beside the policies; "" for
    none. What is not known is None, or "" for text.
    """

    line: str
    number: int
    model: str
    upstream: str
    base: str
    parent: int | None = None
    job_id: str = ""
    training_file: str = ""
    dataset_hash: str = ""
    hyperparameters: str = "{}"
    checkpoints: str = "[]"
    trained_tokens: int | None = None
    cost_nano_usd: int | None = None
    owner: str = ""
    created_by: str = ""
    created_at: float = 0.0
    shutdown_date: str | None = None
    notes: str = ""


class Scored(Value, frozen=True):
    """How a version did on a frozen set. scores: JSON, item key -> score from 0 to 1."""

    id: str
    line: str
    number: int
    set_hash: str
    source: str
    mean: float
    items: int
    scores: str
    created_at: float


class LineEvent(Value, frozen=True):
    """A change of a line. detail: JSON."""

    id: str
    line: str
    revision: int
    at: float
    actor: str
    action: str
    detail: str


class TrialKey(Value, frozen=True):
    """A canary: a challenger beside a champion of a line."""

    line: str
    champion: int
    challenger: int


class Seen(Value, frozen=True):
    """What was seen of one version in a canary, as sums.

    errors: of `calls`. malformed: of `formed`, which were to be JSON. plain_json: how many of `plain`, which nobody
    asked to be JSON, were. disliked: of `rated`. slow: past the champion's usual 95th percentile.
    """

    calls: int = 0
    errors: int = 0
    formed: int = 0
    malformed: int = 0
    plain: int = 0
    plain_json: int = 0
    rated: int = 0
    disliked: int = 0
    slow: int = 0

    def plus(self, other: "Seen") -> "Seen":
        """The sums of both."""
        return Seen(*(getattr(self, name) + getattr(other, name) for name in self.__struct_fields__))


class Standing(Value, frozen=True):
    """How a canary stands. slow_seconds: past this a reply is slow; None when it is not known.

    held_at: when it was found to have held out, Unix seconds.
    """

    key: TrialKey
    began_at: float
    slow_seconds: float | None
    held_at: float | None
    champion: Seen
    challenger: Seen
