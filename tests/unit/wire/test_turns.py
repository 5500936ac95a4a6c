import msgspec
import pytest

from gateway.wire.turns import content_text


@pytest.mark.parametrize(
    ("content", "text", "image"),
    [
        (b'"caf\\u00e9"', "café", False),
        (b'[{"type":"text","text":"a"},{"type":"text","text":"b"}]', "a\nb", False),
        (b'[{"type":"image_url","image_url":{"url":"x"}}]', "", True),
        (b'[{"type":"input_image"},{"type":"input_text","text":"a"}]', "a", True),
        (b'[{"type":"text","text":null}]', "", False),
        (b"[1, 2]", "", False),
        (b"null", "", False),
        (b"7", "", False),
        (b'{"text":"a"}', "", False),
        (b"", "", False),
        (b"[" * 100_000 + b"]" * 100_000, "", False),
    ],
    ids=str,
)
def test_content_of_any_shape_gives_its_text_and_never_an_error(content: bytes, text: str, *, image: bool) -> None:
    assert content_text(msgspec.Raw(content)) == (text, image)
