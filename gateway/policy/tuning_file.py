"""policies/tuning.yaml: who trains, and which jobs go to whom."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from gateway.core.document import Written
from gateway.policy.models_file import Name, Secret

ANYBODY = "*"


class HostedTrainerEntry(Written):
    """A provider that trains: reached as the upstream is. calls_upstream: who serves its models; itself by default."""

    kind: Literal["openai_api", "azure", "together", "fireworks"] = "openai_api"
    upstream: str
    calls_upstream: str | None = None
    account: str | None = None

    @property
    def serves_at(self) -> str:
        """The upstream that answers for what is trained here."""
        return self.calls_upstream or self.upstream

    @model_validator(mode="after")
    def _complete(self) -> "HostedTrainerEntry":
        if self.kind == "fireworks" and not self.account:
            raise ValueError("a fireworks trainer names its account")
        return self


class BaseModelEntry(Written):
    """A base model on disk, and the recipe of its adapters.

    path: of its folder, as `transformers` saves one; from the policies folder when it is relative. rank, alpha: of the
    adapters; targets: modules that get one, every linear layer but the output by default; saved: modules that are
    trained whole (vLLM loads none of these). learning_rate: what a multiplier of 1 is. longest: tokens of an example.
    micro_batch: examples in memory at once. threads: of the CPU; another count may round otherwise.
    """

    path: str
    rank: Annotated[int, Field(ge=1, le=1024)] = 16
    alpha: Annotated[int, Field(ge=1, le=4096)] = 32
    targets: list[str] = []
    saved: list[str] = []
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    longest: Annotated[int, Field(ge=1)] | None = None
    micro_batch: Annotated[int, Field(ge=1)] = 8
    threads: Annotated[int, Field(ge=1)] = 1


class LocalTrainerEntry(Written):
    """Training on this machine. upstream: who serves the adapters, this gateway's own worker or a vLLM.

    serve: the port of a worker that the gateway runs to serve them itself. at_once: jobs side by side. python: the
    interpreter with the `train` extra, when it is not the gateway's own.
    """

    kind: Literal["local"]
    upstream: str
    models: Annotated[dict[str, BaseModelEntry], Field(min_length=1)]
    serve: Annotated[int, Field(ge=1, le=65535)] | None = None
    at_once: Annotated[int, Field(ge=1, le=64)] = 1
    python: str | None = None

    @property
    def serves_at(self) -> str:
        """The upstream that answers for what is trained here."""
        return self.upstream


class RayTrainerEntry(Written):
    """Training on a Ray cluster, through its job API. folder: one that the cluster and this gateway both see.

    seen_as: what the cluster calls that folder, when it is another name. upstream: who serves the adapters.
    """

    kind: Literal["ray"]
    address: str
    upstream: str
    folder: str
    seen_as: str | None = None
    models: Annotated[dict[str, BaseModelEntry], Field(min_length=1)]
    token: Secret | None = None
    python: str = "python"
    gpus: Annotated[float, Field(ge=0)] = 0
    cpus: Annotated[float, Field(gt=0)] = 1

    @property
    def serves_at(self) -> str:
        """The upstream that answers for what is trained here."""
        return self.upstream


_TAGS = {"azure": "openai_api", "together": "openai_api", "fireworks": "openai_api"}
TRAINER_KINDS = ("openai_api", "azure", "together", "fireworks", "local", "ray")


def _tag(written: object) -> str | None:
    kind = written.get("kind", "openai_api") if isinstance(written, dict) else getattr(written, "kind", None)
    return _TAGS.get(kind, kind) if isinstance(kind, str) and kind in TRAINER_KINDS else None


TrainerEntry = Annotated[
    Annotated[HostedTrainerEntry, Tag("openai_api")]
    | Annotated[LocalTrainerEntry, Tag("local")]
    | Annotated[RayTrainerEntry, Tag("ray")],
    Discriminator(_tag, "kind", f"a trainer has a `kind`, which is one of {', '.join(TRAINER_KINDS)}"),
]


class JobRule(Written):
    """Which jobs go to a trainer: by their base model (with `*` at its end, its beginning) and team."""

    models: Annotated[list[str], Field(min_length=1)] = [ANYBODY]
    teams: Annotated[list[str], Field(min_length=1)] = [ANYBODY]
    trainer: str

    def holds(self, model: str, team: str) -> bool:
        """Whether a job for this model and team goes here."""
        named = any(model.startswith(one[:-1]) if one.endswith(ANYBODY) else model == one for one in self.models)
        return named and (ANYBODY in self.teams or team in self.teams)


class WebhookEntry(Written):
    """Who is told of the ends of jobs, signed with GATEWAY_WEBHOOK_SECRET. teams: whose."""

    url: str
    teams: Annotated[list[str], Field(min_length=1)] = [ANYBODY]


class TuningFile(Written):
    """The whole file. jobs: the first that holds. Without trainers the upstream of `*` trains, where it can."""

    trainers: dict[Name, TrainerEntry] = {}
    jobs: list[JobRule] = []
    webhooks: list[WebhookEntry] = []

    def trainer_of(self, model: str, team: str) -> str | None:
        """The name of the trainer for a job; None when no rule sends it anywhere.

        With one trainer and no rules it is that one.
        """
        for rule in self.jobs:
            if rule.holds(model, team):
                return rule.trainer
        return next(iter(self.trainers)) if len(self.trainers) == 1 and not self.jobs else None
