"""Training rows of captured calls: which calls are examples, and pairs of a better and a worse answer."""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any

import msgspec

from gateway.core.values import Value
from gateway.tuning.captured.values import CapturedCall
from gateway.tuning.datasets.digests import canonical, digest
from gateway.tuning.datasets.exchanges import Built
from gateway.tuning.datasets.provenance import Provenance, row_hash
from gateway.tuning.datasets.redaction import redacted
from gateway.tuning.feedback.values import Feedback

SOURCE = "ledger"
AT_ONCE = 200

Rated = tuple[CapturedCall, Feedback | None]
# What a team said of these calls, by their ids.
SaidOf = Callable[[Sequence[str]], Awaitable[dict[str, Feedback]]]


class Terms(Value, frozen=True):
    """Which calls become rows. only_positive: those that were said to be good alone. redacts: what is not yet."""

    only_positive: bool = False
    redacts: bool = True


async def rated(calls: AsyncIterator[CapturedCall], said_of: SaidOf) -> AsyncIterator[Rated]:
    """Each call with what was said of it, if anything was."""
    held: list[CapturedCall] = []
    async for call in calls:
        held.append(call)
        if len(held) == AT_ONCE:
            for one in await _together(held, said_of):
                yield one
            held = []
    for one in await _together(held, said_of):
        yield one


async def _together(calls: list[CapturedCall], said_of: SaidOf) -> list[Rated]:
    said = await said_of([call.id for call in calls]) if calls else {}
    return [(call, said.get(call.id)) for call in calls]


class Examples:
    """Makes rows. left_out: why calls were not taken, by reason."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._seen: set[int] = set()
        self.left_out: Counter[str] = Counter()

    def row(self, call: CapturedCall, said: Feedback | None) -> Built | None:
        """A row for supervised training; None for a call that is no example.

        An answer that was corrected is the correction. The same calls in the same order give the same rows.
        """
        why = reason(call, said, only_positive=self._terms.only_positive)
        if why:
            self.left_out[why] += 1
            return None
        answer = corrected_answer(said) or _read(call.answer)
        row: dict[str, object] = {"messages": [*_read(call.messages), answer]}
        if call.tools:
            row["tools"] = _read(call.tools)
        return self._built(call, row)

    def pairs(self, calls: Sequence[Rated]) -> Iterator[Built]:
        """Rows for DPO: an answer and its correction, and a liked and a disliked answer to the same prompt."""
        prompts: dict[int, tuple[list[CapturedCall], list[CapturedCall]]] = defaultdict(lambda: ([], []))
        for call, said in calls:
            why = unusable(call)
            if why or said is None:
                self.left_out[why or "nothing was said of it"] += 1
                continue
            correction = corrected_answer(said)
            if correction is not None and said.score < 0:
                yield from self._pair(call, correction, _read(call.answer))
            elif said.score:
                prompt = digest(canonical([_read(call.messages), call.tools]))
                prompts[prompt][said.score < 0].append(call)
        for good, bad in prompts.values():
            for better, worse in zip(good, bad, strict=False):
                yield from self._pair(better, _read(better.answer), _read(worse.answer))

    def _pair(self, call: CapturedCall, better: dict[str, Any], worse: dict[str, Any]) -> Iterator[Built]:
        if better.get("content") == worse.get("content"):
            self.left_out["both answers are the same"] += 1
            return
        given: dict[str, object] = {"messages": _read(call.messages)}
        if call.tools:
            given["tools"] = _read(call.tools)
        row: dict[str, object] = {"input": given, "preferred_output": [better], "non_preferred_output": [worse]}
        built = self._built(call, row)
        if built is not None:
            yield built

    def _built(self, call: CapturedCall, row: dict[str, object]) -> Built | None:
        transforms: tuple[str, ...] = ("build",)
        if call.is_redacted or self._terms.redacts:
            row = row if call.is_redacted else dict(redacted(row))
            transforms = (*transforms, "redact")
        whole = digest(canonical(row))
        if whole in self._seen:
            self.left_out["the same as another"] += 1
            return None
        self._seen.add(whole)
        at = f"{call.at:.3f}"
        return Built(row, Provenance(row_hash(row), SOURCE, call.id, call.conversation, transforms, created_at=at))


def unusable(call: CapturedCall) -> str:
    """Why a call's answer is none that a model should learn or be measured by; "" when it may be."""
    if call.status >= 300:
        return "an error, or its caller left"
    if call.finish_reason not in {"stop", "tool_calls", "function_call"}:
        return "cut off at its limit" if call.finish_reason == "length" else "not ended of itself"
    answer = _read(call.answer)
    if answer.get("refusal"):
        return "refused by the model"
    if not answer.get("content") and not answer.get("tool_calls") and not answer.get("function_call"):
        return "nothing answered"
    # What documents say changes: it belongs in them, and not in a model.
    return "answered from documents" if call.path == "rag" else ""


def reason(call: CapturedCall, said: Feedback | None, *, only_positive: bool = False) -> str:
    """Why a call is no example; "" when it is one."""
    why = unusable(call)
    if why:
        return why
    if said is not None and said.score < 0 and not said.corrected:
        return "said to be bad"
    if only_positive and (said is None or (said.score <= 0 and not said.corrected)):
        return "not said to be good"
    return ""


def corrected_answer(said: Feedback | None) -> dict[str, Any] | None:
    """The answer as it should have been, if somebody said so."""
    return None if said is None or not said.corrected else {"role": "assistant", "content": said.corrected}


def _read(text: str) -> Any:
    return msgspec.json.decode(text)
