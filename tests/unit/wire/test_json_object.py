import pytest

from gateway.core.errors import InvalidRequest
from gateway.wire.json_object import edited, read_object, write_object


def test_what_is_not_changed_keeps_its_bytes_and_its_place() -> None:
    body = b'{ "a" : 1.50 , "m": "x", "z": {"b" : [ 1,2 ]} }'
    assert edited(body, {"m": "y"}) == b'{"a":1.50,"m":"y","z":{"b" : [ 1,2 ]}}'


def test_what_was_not_there_is_put_at_the_end() -> None:
    assert edited(b"{}", {"m": "y"}) == b'{"m":"y"}'
    assert edited(b'{"a":null}', {"m": [1]}) == b'{"a":null,"m":[1]}'


def test_reading_and_writing_again_keeps_every_value() -> None:
    body = b'{"a":1e2,"b\\u0020c":"\\u00e9","d":[ ],"e":0.10}'
    assert write_object(read_object(body)) == b'{"a":1e2,"b c":"\\u00e9","d":[ ],"e":0.10}'


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"1", b'"x"', b"{", b'{"a"}', b"\xef\xbb\xbf{}"])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        read_object(body)
