"""POST /v1/embeddings: vectors of hashed words and letter groups, so that similar texts are near."""

import base64
import re
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.core.ids import new_id
from gateway.offline.completions import prompts_of
from gateway.offline.exchange import Refusal
from gateway.offline.requests import EmbeddingsRequest
from gateway.offline.sources import words_of
from gateway.offline.work import Work

DEFAULT_DIMENSIONS = {
    "text-embedding-3-large": 3072,
    "text-embedding-3-small": 1536,
    "text-embedding-ada-002": 1536,
}
OTHER_DIMENSIONS = 1536
MAX_INPUTS = 2_048
WORD_WEIGHT = 1.0
GROUP_WEIGHT = 0.3
_WORD = re.compile(r"\w+")


def vector_of(text: str, dimensions: int) -> NDArray[np.float32]:
    """(dimensions,) float32 of unit length; the same text always gives the same vector.

    Each word (cut to six letters, without stop-words) and each group of four letters adds or takes a weight
    at a place that its hash names. Text without either gives the first axis.
    """
    weights: dict[str, float] = {}
    for word in words_of(text):
        weights[word] = weights.get(word, 0.0) + WORD_WEIGHT
    for word in _WORD.findall(text.lower()):
        padded = f"<{word}>"
        for start in range(max(1, len(padded) - 3)):
            group = padded[start : start + 4]
            weights[group] = weights.get(group, 0.0) + GROUP_WEIGHT
    vector = np.zeros(dimensions, dtype=np.float64)
    for feature, weight in weights.items():
        code = zlib.crc32(feature.encode("utf-8", "surrogatepass"))
        vector[(code >> 1) % dimensions] += weight if code & 1 else -weight
    length = float(np.linalg.norm(vector))
    if length == 0.0:
        vector[0] = length = 1.0
    return (vector / length).astype(np.float32)


def answer_embeddings(request: EmbeddingsRequest, *, with_usage: bool) -> Work:
    """The vectors of each input. Raises Refusal (400) for no input, an empty one, or more than 2,048."""
    inputs = prompts_of(request.input)
    if not inputs or len(inputs) > MAX_INPUTS or any(tokens == 0 and not text for text, tokens in inputs):
        message = f"'input' must be 1 to {MAX_INPUTS} texts or lists of tokens, none of them empty."
        raise Refusal(400, message, param="input")
    if request.encoding_format not in (None, "float", "base64"):
        raise Refusal(400, "'encoding_format' must be 'float' or 'base64'.", param="encoding_format")
    dimensions = request.dimensions or DEFAULT_DIMENSIONS.get(request.model, OTHER_DIMENSIONS)
    encode = _as_base64 if request.encoding_format == "base64" else _as_floats
    data = [
        {"object": "embedding", "index": index, "embedding": encode(vector_of(text, dimensions))}
        for index, (text, _) in enumerate(inputs)
    ]
    tokens = sum(count for _, count in inputs)
    whole: dict[str, Any] = {"object": "list", "data": data, "model": request.model}
    if with_usage:
        whole["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    return Work(
        id=new_id("embd"),
        model=request.model,
        endpoint="/v1/embeddings",
        prompt_tokens=tokens,
        completion_tokens=0,
        whole=whole,
    )


def _as_base64(vector: NDArray[np.float32]) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def _as_floats(vector: NDArray[np.float32]) -> list[float]:
    return [float(number) for number in vector]
