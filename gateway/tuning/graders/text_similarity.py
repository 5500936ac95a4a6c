"""text_similarity: how alike two texts are, by one of eleven measures."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Literal

import msgspec
import numpy as np

from gateway.core.answered import Answered, Ask
from gateway.tuning.graders.fuzzy import TooLong, weighted_ratio
from gateway.tuning.graders.graded import Errors, Graded, ModelUsage, failed
from gateway.tuning.graders.overlap import bleu, gleu, meteor, rouge, rouge_l
from gateway.tuning.graders.replies import fault_of
from gateway.tuning.graders.spec import GraderSpec, TemplateText
from gateway.tuning.graders.template import Subject, filled

Metric = Literal[
    "cosine",
    "fuzzy_match",
    "bleu",
    "gleu",
    "meteor",
    "rouge_1",
    "rouge_2",
    "rouge_3",
    "rouge_4",
    "rouge_5",
    "rouge_l",
]
METRICS: dict[str, Callable[[str, str], float]] = {
    "fuzzy_match": weighted_ratio,
    "bleu": bleu,
    "gleu": gleu,
    "meteor": meteor,
    **{f"rouge_{size}": partial(rouge, size=size) for size in range(1, 6)},
    "rouge_l": rouge_l,
}
# What OpenAI's graders embed with. It is asked for by this name; a policy says where it is.
EMBEDDING_MODEL = "text-embedding-3-large"
EMBEDDINGS = "/v1/embeddings"
# Of each text: a reply is some thousand, and words are counted in memory.
MOST_CHARACTERS = 200_000
# Longer comparisons leave the loop to calls.
BRIEF = 2_000


class TextSimilarity(GraderSpec):
    """The score is the measure itself, from 0 to 1."""

    type: Literal["text_similarity"]
    input: TemplateText
    reference: TemplateText
    evaluation_metric: Metric
    pass_threshold: float | None = None


class _Vector(msgspec.Struct):
    embedding: list[float]


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None


class _Embedded(msgspec.Struct):
    data: list[_Vector]
    model: str = EMBEDDING_MODEL
    usage: _Usage | None = None


_embedded = msgspec.json.Decoder(_Embedded)


async def grade_similarity(grader: TextSimilarity, subject: Subject, ask: Ask) -> Graded:
    """Measures. Raises UnknownVariable."""
    text, reference = filled(grader.input, subject), filled(grader.reference, subject)
    if max(len(text), len(reference)) > MOST_CHARACTERS:
        return failed(Errors(other_error=True, details=f"a text has more than {MOST_CHARACTERS:,} characters"))
    if grader.evaluation_metric == "cosine":
        return await _cosine(grader, text, reference, ask)
    measure = METRICS[grader.evaluation_metric]
    try:
        if len(text) + len(reference) <= BRIEF:
            score = measure(text, reference)
        else:
            score = await asyncio.to_thread(measure, text, reference)
    except TooLong as fault:
        return failed(Errors(other_error=True, details=str(fault)))
    return Graded(score, passed=_passes(grader, score))


def _passes(grader: TextSimilarity, score: float) -> bool:
    return score >= (1.0 if grader.pass_threshold is None else grader.pass_threshold)


async def _cosine(grader: TextSimilarity, text: str, reference: str, ask: Ask) -> Graded:
    if not text.strip() or not reference.strip():
        # No embedder takes an empty text.
        score = float(text.strip() == reference.strip())
        return Graded(score, passed=_passes(grader, score))
    body = msgspec.json.encode({"model": EMBEDDING_MODEL, "input": [text, reference], "encoding_format": "float"})
    reply = await ask(EMBEDDINGS, body)
    found = _vectors(reply)
    if found is None:
        told = fault_of(reply)
        return failed(Errors(model_grader_server_error=True, model_grader_server_error_details=told))
    one, other = (np.asarray(vector.embedding, dtype=np.float64) for vector in found.data)
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    score = float(one @ other) / lengths if lengths else 0.0
    usage = ModelUsage(found.model, 1, found.usage.prompt_tokens if found.usage is not None else None, 0)
    return Graded(score, passed=_passes(grader, score), usage=(usage,))


def _vectors(reply: Answered) -> _Embedded | None:
    if reply.status >= 300:
        return None
    try:
        found = _embedded.decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    shapes = {len(vector.embedding) for vector in found.data}
    return found if len(found.data) == 2 and len(shapes) == 1 else None
