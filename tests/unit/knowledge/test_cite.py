import random

import pytest

from gateway.knowledge.cite import CitationScanner, Marker, clean_markers, find_markers


def test_markers_have_code_point_offsets() -> None:
    text = "Zürich 🏔️ opens at 9 [1]. 東京 too [2]."
    markers = find_markers(text, 2)
    assert [text[marker.start : marker.end] for marker in markers] == ["[1]", "[2]"]
    assert [marker.source_n for marker in markers] == [1, 2]


@pytest.mark.parametrize(
    ("text", "sources"),
    [
        ("a[1]", [1]),
        ("a [1][2]", [1, 2]),
        ("a [1, 2]", [1, 2]),
        ("a [1,2;3]", [1, 2, 3]),
        ("a 【2】", [2]),
        ("a [0] [4] [1234] [x] [] [1", []),
        ("see `a[1]` and [2]", [2]),
        ("```py\na[1]\n```\n[2]", [2]),
        ("a stray ` tick\n[1]", [1]),
        ("[2, 2]", [2]),
    ],
)
def test_which_markers_count(text: str, sources: list[int]) -> None:
    assert [marker.source_n for marker in find_markers(text, 3)] == sources


def test_two_sources_in_one_bracket_share_its_place() -> None:
    assert find_markers("x [1, 2]", 2) == (Marker(2, 8, 1), Marker(2, 8, 2))


def test_unknown_markers_are_taken_out_and_counted() -> None:
    text, markers, unknown = clean_markers("Ten days [7]. Or [1, 9] five [1].", 2)
    assert text == "Ten days. Or [1] five [1]."
    assert unknown == 2
    assert [text[m.start : m.end] for m in markers] == ["[1]", "[1]"]


def test_code_is_never_edited() -> None:
    text = "Use `rows[9]`:\n```\nx = rows[8]\n```\n"
    assert clean_markers(text, 1) == (text, (), 0)


def test_only_a_possible_partial_marker_is_held_back() -> None:
    scanner = CitationScanner(3)
    assert scanner.feed("plain text") == "plain text"
    assert scanner.feed(" and [1") == " and"
    assert scanner.feed("]") == " [1]"
    assert scanner.feed("[see below") == "[see below"
    assert scanner.feed("[12") == ""
    assert scanner.finish() == "[12"


def test_a_bracket_full_of_digits_is_not_held_for_ever() -> None:
    scanner = CitationScanner(3)
    assert scanner.feed("[" + "1" * 40) != ""


def test_any_pieces_give_what_the_whole_gives() -> None:
    """A stream may be cut anywhere: inside a marker, a fence, between the dots of an emoji."""
    alphabet = [
        "[1]",
        "[2]",
        "[9]",
        " [9]",
        "[1, 9]",
        "【1】",
        "`",
        "```",
        "\n",
        " ",
        "  ",
        "[",
        "]",
        "1",
        ",",
        "é",
        "🏔️",
        "word",
    ]
    chance = random.Random(5)
    for _ in range(2000):
        text = "".join(chance.choices(alphabet, k=chance.randrange(25)))
        whole = clean_markers(text, 2)
        scanner = CitationScanner(2)
        out = ""
        rest = text
        while rest:
            size = chance.randrange(1, 5)
            out += scanner.feed(rest[:size])
            rest = rest[size:]
        out += scanner.finish()
        assert (out, tuple(scanner.markers), scanner.unknown) == whole, text


def test_markers_of_a_stream_stand_where_they_are_in_the_text_given_out() -> None:
    scanner = CitationScanner(2)
    out = "".join(scanner.feed(piece) for piece in ("🏔️ a [", "9] b [2", "] c [1][2]")) + scanner.finish()
    assert [out[m.start : m.end] for m in scanner.markers] == ["[2]", "[1]", "[2]"]
    assert tuple(scanner.markers) == find_markers(out, 2)
