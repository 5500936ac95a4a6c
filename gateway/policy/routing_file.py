"""policies/routing.yaml: rules, and the tests that stand beside them."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, create_model, model_validator

from gateway.core.discovery import members
from gateway.core.document import Place, Written
from gateway.policy import conditions
from gateway.policy.condition import Condition
from gateway.policy.models_file import Name, Seconds
from gateway.policy.written_call import TestEntry

CONDITIONS: dict[str, Condition] = {
    key: condition for key, condition in members(conditions, "CONDITION").items() if isinstance(condition, Condition)
}

_fields: Any = {
    # A key that is written without a value is a fault, and not a condition left out.
    key: (condition.value, Field(None, description=condition.summary))
    for key, condition in CONDITIONS.items()
}
# The keys under `when` are the files under conditions/: adding one there is all there is to do.
_Conditions: type[Written] = create_model("_Conditions", __base__=Written, **_fields)
COMPOSED = ("all", "any", "not")


class When(_Conditions):  # type: ignore[misc,valid-type]  # made at run time, from the files
    """Conditions that must all hold; `all`, `any` and `not` take such groups again, in any depth."""

    all: Annotated[list["When"], Field(min_length=1)] = Field(
        None,  # type: ignore[arg-type]  # left out; written without a value it is a fault
        description="every one of these groups holds",
    )
    any: Annotated[list["When"], Field(min_length=1)] = Field(
        None,  # type: ignore[arg-type]  # left out; written without a value it is a fault
        description="at least one of these groups holds",
    )
    not_: "When" = Field(  # type: ignore[assignment]  # the same
        None, alias="not", description="this group does not hold"
    )

    @model_validator(mode="after")
    def _not_empty(self) -> "When":
        for group in (*(self.all or ()), *(self.any or ()), *((self.not_,) if self.not_ is not None else ())):
            if not group.model_fields_set:
                raise ValueError("a group under all, any or not names at least one condition")
        return self

    def written(self) -> list[str]:
        """The keys that stand in the file, in the order of the table in policies/README.md."""
        return [field.alias or key for key, field in type(self).model_fields.items() if key in self.model_fields_set]

    def value(self, key: str) -> Any:
        """What stands under a key."""
        return getattr(self, "not_" if key == "not" else key)

    def leaves(self, place: Place) -> Iterator[tuple[str, Any, Place]]:
        """Every condition, also those in groups, with its value and where in the file it stands."""
        for key in self.written():
            value, here = self.value(key), (*place, key)
            if key == "not":
                yield from value.leaves(here)
            elif key in COMPOSED:
                for index, group in enumerate(value):
                    yield from group.leaves((*here, index))
            else:
                yield key, value, here


class WeightedEntry(Written):
    """One target among several; weights are shares of their sum."""

    model: str | None = None
    line: str | None = None
    weight: Annotated[float, Field(gt=0, lt=1e9)] = 1

    @model_validator(mode="after")
    def _one(self) -> "WeightedEntry":
        if (self.model is None) == (self.line is None):
            raise ValueError("a target names either a model or a line")
        return self


class GroundingEntry(Written):
    """What is done about an answer that its sources do not bear.

    least: of its support, from 0 to 1. numbers: whether one that stands in no source is only told, or enough to act.
    """

    least: Annotated[float, Field(ge=0, le=1)] | None = None
    numbers: Literal["warn", "require"] = "warn"
    action: Literal["annotate", "retry", "fallback", "refuse"] = "annotate"


class JudgeEntry(Written):
    """A model that looks at a share of the answers after they are given, on the operator's account."""

    model: str
    share: Annotated[float, Field(gt=0, le=1)] = 0.05


# Keys of a way that mean something on the path rag only.
RAG_ONLY = (
    "match_over",
    "on_no_match",
    "no_match_reply",
    "no_match_text",
    "on_store_down",
    "fallback_model",
    "grounding",
    "judge",
)


class WayEntry(Written):
    """One way to go. model: what answers; without it, the model that the caller asked for.

    match_over and the keys after it belong to rag: see policies/README.md.
    """

    path: Literal["fine_tuned", "rag", "direct"]
    model: str | None = None
    line: str | None = None
    collections: list[str] = []
    match_over: Annotated[float, Field(ge=0, lt=1)] | None = None
    on_no_match: Literal["abstain", "direct", "clarify", "fallback"] = "direct"
    no_match_reply: Literal["fixed", "instructed"] = "fixed"
    no_match_text: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    on_store_down: Literal["error", "fallback_model"] = "error"
    fallback_model: str | None = None
    grounding: GroundingEntry | None = None
    judge: JudgeEntry | None = None

    @property
    def turns_to_next(self) -> str | None:
        """The key by which this way may pass a call on to the next one; None when nothing does but its failing."""
        if self.on_no_match == "fallback":
            return "on_no_match"
        return "grounding" if self.grounding is not None and self.grounding.action == "fallback" else None

    @model_validator(mode="after")
    def _fits(self) -> "WayEntry":
        self._rag_fits()
        if self.path == "rag" and not self.collections:
            raise ValueError("path rag names its collections")
        if self.path != "rag" and self.collections:
            raise ValueError(f"collections belong to path rag, not to {self.path}")
        if self.path != "fine_tuned" and self.line:
            raise ValueError(f"line belongs to path fine_tuned, not to {self.path}")
        return self

    def _rag_fits(self) -> None:
        if self.path != "rag":
            given = [key for key in RAG_ONLY if key in self.model_fields_set]
            if given:
                raise ValueError(f"{given[0]} belongs to path rag, not to {self.path}")
            return
        if (self.on_store_down == "fallback_model") != (self.fallback_model is not None):
            raise ValueError("on_store_down: fallback_model and fallback_model: NAME belong together")
        answers = self.on_no_match in {"abstain", "clarify"}
        if "no_match_reply" in self.model_fields_set and not answers:
            raise ValueError("no_match_reply says how on_no_match: abstain or clarify answers; here it is neither")
        refuses = self.grounding is not None and self.grounding.action in {"refuse", "fallback"}
        if self.no_match_text is not None and not (answers or refuses or self.on_no_match == "fallback"):
            raise ValueError("no_match_text is what we say in place of an answer; here we never do")


class CanaryEntry(Written):
    """A small share of the rule's calls to another model or line; what it fails, the rule's own target answers."""

    model: str | None = None
    line: str | None = None
    share: Annotated[float, Field(gt=0, lt=1)]

    @model_validator(mode="after")
    def _one(self) -> "CanaryEntry":
        if (self.model is None) == (self.line is None):
            raise ValueError("a canary names either a model or a line")
        return self


class ShadowEntry(WayEntry):
    """A copy of a share of the calls to another way, made after the reply.

    Its cost is the operator's, never the caller's; past monthly_budget_usd no more copies are made that month.
    """

    share: Annotated[float, Field(gt=0, le=1)] = 1
    monthly_budget_usd: Annotated[float, Field(gt=0, lt=9e9)]


class TimeoutsEntry(Written):
    """Deadlines of each attempt in seconds, in place of the upstream's own."""

    connect: Seconds | None = None
    first_byte: Seconds | None = None
    first_token: Seconds | None = None
    between: Seconds | None = None
    total: Seconds | None = None


class ParametersEntry(Written):
    """Parameters of a call by their chat names; each endpoint gets them under its own."""

    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None


Sticky = Annotated[
    str, Field(pattern=r"^(conversation|user|team|key|metadata\.[^\s]{1,64}|header\.[A-Za-z0-9!#$%&'*+.^_`|~-]+)$")
]


class UseEntry(WayEntry):
    """Where a rule sends its calls: one way or weighted targets, and where to turn when that fails.

    sticky: the field whose equal values get the same target. deadline: seconds for the whole call, with every
    attempt and fallback. attempts: how many may be sent for it.
    """

    targets: list[WeightedEntry] = []
    sticky: Sticky | None = None
    canary: CanaryEntry | None = None
    fallback: list[WayEntry] = []
    shadow: ShadowEntry | None = None
    timeouts: TimeoutsEntry = TimeoutsEntry()
    deadline: Seconds | None = None
    attempts: Annotated[int, Field(ge=1, le=10)] | None = None
    defaults: ParametersEntry = ParametersEntry()
    caps: ParametersEntry = ParametersEntry()

    @model_validator(mode="after")
    def _targets_fit(self) -> "UseEntry":
        if self.targets and (self.model or self.line):
            raise ValueError("targets stand in place of model and line, not beside them")
        if self.targets and self.canary:
            raise ValueError("a canary stands beside one model or line, not beside targets")
        if self.sticky and not (self.targets or self.canary):
            raise ValueError("sticky belongs to targets or a canary")
        others: list[WeightedEntry | CanaryEntry] = [*self.targets, *((self.canary,) if self.canary else ())]
        if self.path == "fine_tuned" and any(target.model for target in others):
            raise ValueError("targets of path fine_tuned name lines")
        if self.path != "fine_tuned" and any(target.line for target in others):
            raise ValueError("targets that name lines belong to path fine_tuned")
        if self.shadow is not None and (self.shadow.turns_to_next or self.shadow.judge):
            raise ValueError(
                "nobody reads a copy's answer, and no way stands behind it: it has no judge and passes nothing on"
            )
        last = self.fallback[-1] if self.fallback else self
        if last.turns_to_next is not None:
            raise ValueError(f"{last.turns_to_next} passes calls on, and no way stands behind it under fallback")
        return self


class RuleEntry(Written):
    """One rule. It holds when every condition under `when` does; it then uses a way or refuses."""

    name: Name
    when: When | None = None
    use: UseEntry | None = None
    refuse: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one(self) -> "RuleEntry":
        if (self.use is None) == (self.refuse is None):
            raise ValueError("a rule has either use or refuse")
        return self


class RoutingFile(Written):
    """The whole file."""

    rules: Annotated[list[RuleEntry], Field(min_length=1)]
    tests: list[TestEntry] = []
