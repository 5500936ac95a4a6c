"""Multipart forms as the official SDK and curl send them."""

import pytest

from gateway.offline.exchange import Refusal
from gateway.offline.files import page_of, read_form

FORM = (
    b'--X\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
    b'--X\r\nContent-Disposition: form-data; name="file"; filename="a;b.jsonl"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\nline\r\n--not the end\r\n\r\n\r\n--X--\r\n"
)


def test_a_form_is_read_byte_for_byte() -> None:
    fields = read_form(FORM, 'multipart/form-data; boundary="X"')
    assert fields["purpose"] == (None, b"fine-tune")
    assert fields["file"] == ("a;b.jsonl", b"line\r\n--not the end\r\n\r\n")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (FORM, "application/json"),
        (FORM, "multipart/form-data"),
        (FORM[:90], "multipart/form-data; boundary=X"),
        (b"", "multipart/form-data; boundary=X"),
        (b"--X\r\nnothing", "multipart/form-data; boundary=X"),
    ],
)
def test_a_broken_form_is_refused(body: bytes, content_type: str) -> None:
    with pytest.raises(Refusal):
        read_form(body, content_type)


def test_pages_go_on_behind_the_last_id() -> None:
    items = [{"id": str(number)} for number in range(5)]
    first = page_of(items, {"limit": "2"}, 20)
    assert ([one["id"] for one in first["data"]], first["has_more"]) == (["0", "1"], True)
    last = page_of(items, {"after": "3"}, 20)
    assert ([one["id"] for one in last["data"]], last["has_more"]) == (["4"], False)
    assert page_of([], {"limit": "no"}, 20)["data"] == []
