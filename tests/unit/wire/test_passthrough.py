import pytest

from gateway.core.call import Call
from gateway.core.errors import InvalidRequest
from gateway.wire.route import read_call
from tests.fakes.calls import inbound, read

PATH = "/v1/images/generations"


def test_the_model_is_read_where_the_body_names_one() -> None:
    call = read({"model": "gpt-image-1", "prompt": "a cat"}, PATH)
    assert (call.endpoint, call.model, call.output_limit) == ("passthrough", "gpt-image-1", 0)


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'{"model": 3}', b'{"model": "\xff"}', b"[" * 100_000])
def test_a_body_that_is_not_understood_is_nobodys_fault_here(body: bytes) -> None:
    call = read(body, PATH)
    assert call.model == ""
    assert call.inbound.body == body


def test_a_body_of_another_kind_is_not_looked_into() -> None:
    upload = inbound(b'{"model": "m"}', "/v1/files")
    other = upload.__class__(
        "POST", upload.path, upload.raw_path, b"", ((b"content-type", b"multipart/form-data"),), upload.body, "r", 0.0
    )
    assert read_call(other).model == ""


def form(*models: bytes) -> Call:
    file = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF\0\xff\r\n'
    fields = b"".join(b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n%b\r\n' % model for model in models)
    upload = inbound(file + fields + b"--b--\r\n", "/v1/audio/transcriptions")
    kind = ((b"content-type", b"multipart/form-data; boundary=b"),)
    return read_call(upload.__class__("POST", upload.path, upload.raw_path, b"", kind, upload.body, "r", 0.0))


def test_the_model_of_a_form_is_read() -> None:
    """Without it a transcription that is billed by the second would look free."""
    assert form(b"whisper-1").model == "whisper-1"
    assert form().model == ""


def test_a_form_with_two_models_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="more than one model"):
        form(b"whisper-1", b"gpt-4o-transcribe")
