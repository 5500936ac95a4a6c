"""policies/routing.yaml: rules, and the tests that stand beside them."""

from typing import Annotated, Any, Literal

from pydantic import Field, create_model, model_validator

from gateway.core.discovery import members
from gateway.core.document import Written
from gateway.policy import conditions
from gateway.policy.condition import Condition
from gateway.policy.models_file import Name

CONDITIONS: dict[str, Condition] = {
    key: condition for key, condition in members(conditions, "CONDITION").items() if isinstance(condition, Condition)
}

_fields: Any = {
    # A key that is written without a value is a fault, and not a condition left out.
    key: (condition.value, Field(None, description=condition.summary))
    for key, condition in CONDITIONS.items()
}
# The keys under `when` are the files under conditions/: adding one there is all there is to do.
When: type[Written] = create_model("When", __base__=Written, **_fields)


class WeightedEntry(Written):
    """One target among several; weights are shares of their sum."""

    model: str | None = None
    line: str | None = None
    weight: Annotated[float, Field(gt=0)] = 1

    @model_validator(mode="after")
    def _one(self) -> "WeightedEntry":
        if (self.model is None) == (self.line is None):
            raise ValueError("a target names either a model or a line")
        return self


class WayEntry(Written):
    """One way to go. model: what answers; without it, the model that the caller asked for."""

    path: Literal["fine_tuned", "rag", "direct"]
    model: str | None = None
    line: str | None = None
    collections: list[str] = []
    on_no_match: Literal["abstain", "direct"] = "direct"

    @model_validator(mode="after")
    def _fits(self) -> "WayEntry":
        if self.path == "rag" and not self.collections:
            raise ValueError("path rag names its collections")
        if self.path != "rag" and self.collections:
            raise ValueError(f"collections belong to path rag, not to {self.path}")
        if self.path != "fine_tuned" and self.line:
            raise ValueError(f"line belongs to path fine_tuned, not to {self.path}")
        return self


class UseEntry(WayEntry):
    """Where a rule sends its calls: one way or weighted targets, and where to turn when that fails."""

    targets: list[WeightedEntry] = []
    fallback: list[WayEntry] = []

    @model_validator(mode="after")
    def _targets_fit(self) -> "UseEntry":
        if self.targets and (self.model or self.line):
            raise ValueError("targets stand in place of model and line, not beside them")
        if self.path == "fine_tuned" and any(target.model for target in self.targets):
            raise ValueError("targets of path fine_tuned name lines")
        if self.path != "fine_tuned" and any(target.line for target in self.targets):
            raise ValueError("targets that name lines belong to path fine_tuned")
        return self


class RuleEntry(Written):
    """One rule. It holds when every condition under `when` does; it then uses a way or refuses."""

    name: Name
    when: When | None = None  # type: ignore[valid-type]  # a model made at run time, from the files
    use: UseEntry | None = None
    refuse: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one(self) -> "RuleEntry":
        if (self.use is None) == (self.refuse is None):
            raise ValueError("a rule has either use or refuse")
        return self


class CallEntry(Written):
    """A call as a test writes it."""

    team: str
    key: str = "test"
    model: str = "auto"
    endpoint: Literal["chat", "responses", "completions", "embeddings", "passthrough"] = "chat"
    text: str = ""
    system: str = ""
    headers: dict[str, str] = {}
    metadata: dict[str, str] = {}
    has_tools: bool = False
    stream: bool = False
    prompt_tokens: Annotated[int, Field(ge=0)] | None = None
    path: str | None = None
    knowledge_score: Annotated[float, Field(ge=0, le=1)] | None = None


class ExpectEntry(Written):
    """What must come out; what is not named may be anything."""

    rule: str | None = None
    path: Literal["fine_tuned", "rag", "direct", "passthrough", "refused"] | None = None
    model: str | None = None
    line: str | None = None


class TestEntry(Written):
    """A promise about the rules above it."""

    __test__ = False

    name: str
    call: CallEntry
    expect: ExpectEntry


class RoutingFile(Written):
    """The whole file."""

    rules: Annotated[list[RuleEntry], Field(min_length=1)]
    tests: list[TestEntry] = []
