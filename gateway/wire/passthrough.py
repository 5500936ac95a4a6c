"""Every other /v1 route: passed on byte for byte; its model is read where the body is JSON that names one."""

import msgspec

from gateway.core.call import Call, Inbound
from gateway.wire.caller import asked_path, caller_metadata


class NamedModel(msgspec.Struct):
    model: str | None = None


_decoder = msgspec.json.Decoder(NamedModel)


def read_passthrough(inbound: Inbound) -> Call:
    """The call. `model` is '' where the body names none; a body that is not JSON is nobody's fault here."""
    model = ""
    kind = inbound.header(b"content-type") or b""
    if inbound.body and b"json" in kind:
        try:
            model = _decoder.decode(inbound.body).model or ""
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            model = ""
    return Call(
        inbound=inbound,
        endpoint="passthrough",
        model=model,
        output_limit=0,
        metadata=caller_metadata(inbound, None),
        prompt_bytes=len(inbound.body),
        asked_path=asked_path(inbound),
    )
