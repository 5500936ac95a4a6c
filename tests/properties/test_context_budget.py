"""A block of sources is never over its budget, and holds whole chunks only."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.knowledge.chunks import Passage, estimate_tokens
from gateway.knowledge.context import build_context

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300) | st.builds(
    str.__mul__, st.text('aé<源"&\n ', min_size=1, max_size=20), st.integers(1, 60)
)
PASSAGES = st.builds(
    lambda document, ordinal, text: Passage("c", document, "v", f"The {document}", text, 0.5, ordinal=ordinal),
    st.sampled_from("abc"),
    st.integers(0, 6),
    TEXTS,
)
HITS = st.lists(PASSAGES, max_size=12, unique_by=lambda hit: (hit.document, hit.ordinal))


@settings(max_examples=200, deadline=None)
@given(hits=HITS, budget=st.integers(0, 1500), wants_json=st.booleans())
def test_never_over_budget_and_only_whole_chunks(hits: list[Passage], budget: int, *, wants_json: bool) -> None:
    context = build_context(hits, budget, wants_json=wants_json)
    assert estimate_tokens(context.text) == context.tokens <= max(budget, 0)
    assert [source.n for source in context.sources] == list(range(1, len(context.sources) + 1))
    for source in context.sources:
        chunks = [hit for hit in hits if hit.document == source.document]
        assert source.text in whole_runs(sorted(chunks, key=lambda hit: hit.ordinal))


def whole_runs(chunks: list[Passage]) -> set[str]:
    """The text of every run of chunks that follow each other, by their order in the document."""
    runs = set()
    for first in range(len(chunks)):
        for last in range(first, len(chunks)):
            if chunks[last].ordinal - chunks[first].ordinal == last - first:
                runs.add("\n\n".join(chunk.text for chunk in chunks[first : last + 1]))
    return runs


@settings(max_examples=100, deadline=None)
@given(hits=HITS)
def test_with_room_for_all_every_hit_is_in(hits: list[Passage]) -> None:
    context = build_context(hits, 1_000_000)
    assert {(hit.document, hit.text) for hit in hits if hit.text} <= {
        (source.document, hit.text) for source in context.sources for hit in hits if hit.text in source.text
    }


@settings(max_examples=100, deadline=None)
@given(hits=HITS, budget=st.integers(0, 3000))
def test_any_way_of_counting_is_kept_to(hits: list[Passage], budget: int) -> None:
    context = build_context(hits, budget, count_tokens=len)
    assert len(context.text) <= budget
