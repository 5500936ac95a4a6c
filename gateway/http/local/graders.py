"""/v1/fine_tuning/alpha/graders: a grader run on one sample, or only read."""

from collections.abc import Callable

import msgspec

from gateway.core.answered import Ask
from gateway.core.call import Inbound, Principal
from gateway.core.clock import Clock
from gateway.core.errors import InvalidRequest, MethodNotAllowed, RouteNotFound
from gateway.http.local.reading import json_body
from gateway.http.local.replies import Json
from gateway.tuning.graders.graded import Errors, Graded, ModelUsage
from gateway.tuning.graders.template import Subject, sample_of
from gateway.tuning.graders.written import AnyGrader, grade, read_grader
from gateway.wire.json_object import decode

ALPHA = ["alpha", "graders"]
# What is ours of the flags is in words, and only there when there are some.
WORDS = "details"


class _Asked(msgspec.Struct):
    grader: msgspec.Raw = msgspec.Raw()
    model_sample: str | None = None
    item: msgspec.Raw = msgspec.Raw()


_asked = msgspec.json.Decoder(_Asked)


class Graders:
    """Answers for graders. asking: how models are asked for a principal."""

    def __init__(self, asking: Callable[[Principal], Ask], clock: Clock) -> None:
        self._asking = asking
        self._clock = clock

    async def serve(self, rest: list[str], inbound: Inbound, principal: Principal) -> Json | None:
        """The reply; None for what is no route of graders. rest: of the path, below `/v1/fine_tuning/`."""
        if rest[:2] != ALPHA:
            return None
        if len(rest) != 3 or rest[2] not in {"run", "validate"}:
            raise RouteNotFound(f"Unknown request URL: {inbound.method} {inbound.path}.")
        if inbound.method != "POST":
            raise MethodNotAllowed(f"{inbound.method} is not supported on {inbound.path}; use POST.")
        asked = decode(json_body(inbound), _asked)
        if not bytes(asked.grader):
            raise InvalidRequest("grader is missing.", param="grader")
        grader = read_grader(bytes(asked.grader))
        if rest[2] == "validate":
            return {"grader": asked.grader}
        if asked.model_sample is None:
            raise InvalidRequest("model_sample is missing.", param="model_sample")
        item = msgspec.json.decode(asked.item) if bytes(asked.item) else {}
        began = self._clock.monotonic()
        graded = await grade(grader, Subject(item, sample_of(asked.model_sample)), self._asking(principal))
        return run_object(grader, graded, self._clock.monotonic() - began)


def run_object(grader: AnyGrader, graded: Graded, seconds: float) -> Json:
    """A grader's run as OpenAI's object; tokens that nobody told are null."""
    tokens = [_tokens(used) for used in graded.usage]
    return {
        "reward": graded.score,
        "sub_rewards": dict(graded.parts),
        "metadata": {
            "name": grader.name,
            "type": grader.type,
            "errors": errors_object(graded.errors),
            "execution_time": seconds,
            "scores": dict(graded.parts) or {grader.name: graded.score},
            "token_usage": None if None in tokens else sum(filter(None, tokens)),
            "sampled_model_name": graded.usage[0].model if graded.usage else None,
        },
        "model_grader_token_usage_per_model": {used.model: _usage(used) for used in summed(graded.usage)},
    }


def errors_object(errors: Errors) -> Json:
    """The flags by OpenAI's names, and in words what they are about."""
    told = {name: getattr(errors, name) for name in errors.__struct_fields__}
    if told[WORDS] is None:
        del told[WORDS]
    return told


def summed(usage: tuple[ModelUsage, ...]) -> list[ModelUsage]:
    """The same, one of each model. A count that one call does not tell is not known of all."""
    found: dict[str, ModelUsage] = {}
    for used in usage:
        before = found.get(used.model)
        found[used.model] = used if before is None else before.plus(used)
    return list(found.values())


def _tokens(used: ModelUsage) -> int | None:
    if used.prompt_tokens is None:
        return None
    return used.prompt_tokens + (used.completion_tokens or 0)


def _usage(used: ModelUsage) -> Json:
    return {
        "prompt_tokens": used.prompt_tokens,
        "completion_tokens": used.completion_tokens,
        "cached_tokens": used.cached_tokens,
        "total_tokens": _tokens(used),
        "invocation_count": used.invocations,
    }
