"""Which endpoint is called."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from gateway.core.call import Endpoint
from gateway.policy.condition import Check, Condition, one_or_many


def _compile(endpoints: list[str]) -> Check:
    wanted = frozenset(endpoints)
    return lambda call, _principal, _facts: call.endpoint in wanted


CONDITION = Condition(
    summary="the endpoint is one of chat, responses, completions, embeddings, passthrough",
    example="endpoint: [chat, responses]",
    value=Annotated[list[Endpoint], BeforeValidator(one_or_many), Field(min_length=1)],
    compile=_compile,
    observed=lambda call, _principal, _facts: call.endpoint,
)
