"""Every other /v1 route: passed on byte for byte; its model is read where the body is JSON or a form that names one."""

import re

import msgspec

from gateway.core.call import Call, Inbound
from gateway.core.errors import InvalidRequest
from gateway.wire.caller import asked_path, caller_metadata


class NamedModel(msgspec.Struct):
    model: str | None = None


_decoder = msgspec.json.Decoder(NamedModel)
# A form's field: its name, further headers, an empty line, the text up to the boundary.
_FIELD = re.compile(rb'name="model"[^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n([^\r\n]{1,300})\r\n--')


def read_passthrough(inbound: Inbound) -> Call:
    """The call. `model` is '' where the body names none; a body that is not understood is nobody's fault here.

    Speech and pictures come as forms, and cost by their model as other calls do. Raises InvalidRequest (400) for a
    form with two models: here one would be priced, and upstream the other served.
    """
    model = ""
    kind = inbound.header(b"content-type") or b""
    if inbound.body and b"json" in kind:
        try:
            model = _decoder.decode(inbound.body).model or ""
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            model = ""
    elif kind.startswith(b"multipart/form-data"):
        named = set(_FIELD.findall(inbound.body))
        if len(named) > 1:
            raise InvalidRequest("This form names more than one model; name one.", param="model")
        model = named.pop().decode("utf-8", "replace") if named else ""
    return Call(
        inbound=inbound,
        endpoint="passthrough",
        model=model,
        output_limit=0,
        metadata=caller_metadata(inbound, None),
        prompt_bytes=len(inbound.body),
        asked_path=asked_path(inbound),
    )
