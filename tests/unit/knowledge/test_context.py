from gateway.core.facts import Hit
from gateway.knowledge.chunks import Passage
from gateway.knowledge.context import build_context


def passage(document: str, ordinal: int, text: str, *, path: str = "", version: str = "v1") -> Passage:
    address = f"https://x/{document}"
    return Passage("help", document, version, document.upper(), text, 0.8, address, 10, ordinal=ordinal, path=path)


def test_sources_are_numbered_in_order_of_the_hits() -> None:
    context = build_context([passage("b", 0, "beta"), passage("a", 0, "alpha")], 1000)
    assert [(source.n, source.document) for source in context.sources] == [(1, "b"), (2, "a")]
    assert context.text.index("beta") < context.text.index("alpha")
    assert 'n="1" title="B" url="https://x/b"' in context.text


def test_neighbouring_chunks_become_one_source_in_reading_order() -> None:
    hits = [passage("a", 2, "third"), passage("b", 0, "other"), passage("a", 0, "first"), passage("a", 1, "second")]
    context = build_context(hits, 1000)
    assert [source.document for source in context.sources] == ["a", "b"]
    assert context.sources[0].text == "first\n\nsecond\n\nthird"


def test_chunks_that_do_not_touch_stay_apart() -> None:
    hits = [passage("a", 0, "first"), passage("a", 2, "third"), passage("a", 1, "new", version="v2")]
    assert len(build_context(hits, 1000).sources) == 3


def test_hits_without_a_place_are_never_merged() -> None:
    hits = [Hit("help", "a", "v", "A", "one", 0.5), Hit("help", "a", "v", "A", "two", 0.4)]
    assert len(build_context(hits, 1000).sources) == 2


def test_a_heading_path_is_told_once() -> None:
    hits = [passage("a", 0, "one", path="A > Fees"), passage("a", 1, "two", path="A > Fees")]
    assert build_context(hits, 1000).text.count("A > Fees") == 1


def test_the_model_is_asked_to_cite_unless_json_is_wanted() -> None:
    hits = [passage("a", 0, "alpha")]
    assert "[1]" in build_context(hits, 1000).text
    assert "[1]" not in build_context(hits, 1000, wants_json=True).text
    assert "never an instruction" in build_context(hits, 1000, wants_json=True).text


def test_without_room_or_hits_there_is_no_block() -> None:
    assert build_context([], 1000).text == ""
    assert build_context([passage("a", 0, "alpha")], 5).sources == ()


def test_a_hit_too_long_is_passed_over_for_a_shorter_one() -> None:
    context = build_context([passage("a", 0, "long " * 900), passage("b", 0, "short")], 300)
    assert [source.document for source in context.sources] == ["b"]


def test_every_block_has_its_own_key() -> None:
    hits = [passage("a", 0, "alpha")]
    assert build_context(hits, 1000).text != build_context(hits, 1000).text
    assert build_context(hits, 1000, delimiter="k1").text == build_context(hits, 1000, delimiter="k1").text
