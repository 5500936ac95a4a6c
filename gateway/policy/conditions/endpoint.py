"""Which endpoint is called."""

from typing import Annotated, get_args

from pydantic import BeforeValidator, Field

from gateway.core.call import Endpoint
from gateway.policy.condition import Check, Compiling, Condition, Cost, holds_all, one_or_many, share_none


def _compile(endpoints: list[str], _compiling: Compiling) -> Check:
    wanted = frozenset(endpoints)
    return lambda seen: seen.names.endpoint in wanted


CONDITION = Condition(
    summary="the endpoint is one of chat, responses, completions, embeddings, passthrough",
    example="endpoint: [chat, responses]",
    value=Annotated[list[Endpoint], BeforeValidator(one_or_many), Field(min_length=1)],
    compile=_compile,
    observed=lambda seen: seen.names.endpoint,
    cost=Cost.NAME,
    covers=holds_all,
    excludes=share_none,
    always=lambda endpoints: set(endpoints) == set(get_args(Endpoint)),
)
