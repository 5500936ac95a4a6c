"""Which of the composers answers at which path."""

from collections.abc import Callable, Mapping
from typing import Any

from gateway.offline.chat import answer_chat
from gateway.offline.completions import answer_completion
from gateway.offline.embeddings import answer_embeddings
from gateway.offline.requests import ChatRequest, CompletionRequest, EmbeddingsRequest, ResponsesRequest
from gateway.offline.responses import answer_responses
from gateway.offline.work import Work

ANSWERS: Mapping[str, tuple[type[Any], Callable[..., Work]]] = {
    "/v1/chat/completions": (ChatRequest, answer_chat),
    "/v1/responses": (ResponsesRequest, answer_responses),
    "/v1/completions": (CompletionRequest, answer_completion),
    "/v1/embeddings": (EmbeddingsRequest, answer_embeddings),
}
