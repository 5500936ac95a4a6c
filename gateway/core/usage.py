"""What one attempt used, in tokens."""

from typing import Literal

from gateway.core.values import Value

Kind = Literal["input", "cached", "output", "reasoning", "retrieval", "training"]


class Usage(Value, frozen=True):
    """Tokens of one attempt, as the provider counts them.

    input_tokens include cached_tokens, audio and images; output_tokens include reasoning_tokens, audio, images and
    predictions, accepted or not (OpenAI's subset rule: a detail is never charged beside its whole).
    source: `provider` when it came with the reply, `estimated` when it had to be counted here.
    raw: the provider's usage JSON as it came, or None. service_tier: what the provider says it served at (`flex`,
    `priority`, `batch`; '' for the standard one).
    """

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    source: Literal["provider", "estimated"] = "provider"
    raw: str | None = None
    service_tier: str = ""
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    image_input_tokens: int = 0
    image_output_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0

    def by_kind(self) -> tuple[tuple[Kind, int], ...]:
        """Disjoint amounts: their sum is input_tokens + output_tokens. The labels of the token metric."""
        return (
            ("input", self.input_tokens - self.cached_tokens),
            ("cached", self.cached_tokens),
            ("output", self.output_tokens - self.reasoning_tokens),
            ("reasoning", self.reasoning_tokens),
        )
