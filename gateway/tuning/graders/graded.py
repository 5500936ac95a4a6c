"""What a grader says of a sample, and what went wrong on the way."""

from gateway.core.values import Value


class Errors(Value, frozen=True):
    """OpenAI's fourteen flags and details, by their names; `details` is ours and says it in words."""

    formula_parse_error: bool = False
    invalid_variable_error: bool = False
    model_grader_parse_error: bool = False
    model_grader_refusal_error: bool = False
    model_grader_server_error: bool = False
    model_grader_server_error_details: str | None = None
    other_error: bool = False
    python_grader_runtime_error: bool = False
    python_grader_runtime_error_details: str | None = None
    python_grader_server_error: bool = False
    python_grader_server_error_type: str | None = None
    sample_parse_error: bool = False
    truncated_observation_error: bool = False
    unresponsive_reward_error: bool = False
    details: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing went wrong."""
        return self == FINE

    def together(self, other: "Errors") -> "Errors":
        """Both."""
        mine, theirs = ({name: getattr(one, name) for name in one.__struct_fields__} for one in (self, other))
        return Errors(**{name: mine[name] or theirs[name] for name in mine})


FINE = Errors()


class ModelUsage(Value, frozen=True):
    """What one model was asked and used. tokens: None where a reply did not say."""

    model: str
    invocations: int = 1
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None

    def plus(self, other: "ModelUsage") -> "ModelUsage":
        """Both together. A count that one of them does not know is not known of both."""
        return ModelUsage(
            self.model,
            self.invocations + other.invocations,
            _plus(self.prompt_tokens, other.prompt_tokens),
            _plus(self.completion_tokens, other.completion_tokens),
            _plus(self.cached_tokens, other.cached_tokens),
        )


def _plus(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


class Graded(Value, frozen=True):
    """A score. passed: by the grader's own measure, its threshold or its passing labels.

    parts: the scores of a multi grader's graders. said: what a model answered.
    """

    score: float
    passed: bool
    errors: Errors = FINE
    parts: tuple[tuple[str, float], ...] = ()
    usage: tuple[ModelUsage, ...] = ()
    said: str | None = None


def failed(errors: Errors, usage: tuple[ModelUsage, ...] = (), said: str | None = None) -> Graded:
    """No score could be found: 0, not passed, and why."""
    return Graded(0.0, passed=False, errors=errors, usage=usage, said=said)
