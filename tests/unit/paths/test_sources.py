from gateway.knowledge.cite import find_markers
from gateway.knowledge.context import Source
from gateway.paths.sources import CitedSources

SOURCES = (
    Source(1, "help-centre", "refunds.md", "v1", "Refunds", "…", 0.91234567, "https://help.test/refunds"),
    Source(2, "help-centre", "payment.md", "v2", "Payment", "…", 0.8),
)


def test_a_source_without_an_address_is_named_inside_its_collection() -> None:
    """The official types want a string."""
    cited = CitedSources("dec_1", SOURCES)
    urls = [one["url_citation"]["url"] for one in cited.url_citations(find_markers("a [1] b [2]", 2))]
    assert urls == ["https://help.test/refunds", "kb/help-centre/payment.md"]


def test_the_gateway_object_says_what_was_given_and_what_was_cited() -> None:
    cited = CitedSources("dec_1", SOURCES)
    assert [one["cited"] for one in cited.told()["sources"]] == [False, False]
    cited.file_citations(find_markers("b [2]", 2))
    told = cited.told()
    assert told["sources"][1] == {
        "n": 2,
        "file_id": "payment.md",
        "filename": "Payment",
        "collection": "help-centre",
        "url": None,
        "score": 0.8,
        "version": "v2",
        "cited": True,
    }
    assert told["sources"][0]["score"] == 0.9123
    assert told["grounding"] is None
