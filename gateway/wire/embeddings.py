"""POST /v1/embeddings: what a policy needs of it."""

from typing import Any

import msgspec

from gateway.core.call import Call, Inbound
from gateway.wire.caller import asked_path, caller_metadata
from gateway.wire.json_object import decode


class EmbeddingsBody(msgspec.Struct):
    """The fields read; all others stay in the bytes."""

    model: str
    input: Any = ""
    metadata: Any = None


_decoder = msgspec.json.Decoder(EmbeddingsBody)


def read_embeddings(inbound: Inbound) -> Call:
    """The call. Raises InvalidRequest (400) naming the field that is missing or of the wrong type."""
    body = decode(inbound.body, _decoder)
    inputs = body.input if isinstance(body.input, list) else [body.input]
    return Call(
        inbound=inbound,
        endpoint="embeddings",
        model=body.model,
        text="\n".join(text for text in inputs if isinstance(text, str)),
        output_limit=0,
        metadata=caller_metadata(inbound, body.metadata),
        prompt_bytes=len(inbound.body),
        asked_path=asked_path(inbound),
    )
