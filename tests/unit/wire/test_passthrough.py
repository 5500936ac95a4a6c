import pytest

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
