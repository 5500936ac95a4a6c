"""A search gives as many distinct passages as there are, however many copies of one text rank before them."""

import numpy as np
import pytest

from gateway.knowledge.embedders.remembered import Remembered
from gateway.knowledge.library import Library
from gateway.knowledge.settings import CollectionSettings
from gateway.knowledge.stores import Store
from tests.contracts.test_store import opened, put, store  # noqa: F401 - the fixtures of the whole suite
from tests.fakes.embedder import FakeEmbedder

TICKET = "My refund has not arrived and I ask when the refund of my order arrives, please answer about the refund."
ANSWER = "A refund takes five working days; banks need one day more."


async def filled(store: Store, copies: int, *, with_vectors: bool) -> Library:  # noqa: F811 - a fixture
    """A library over copies of one ticket and one answer."""
    for number in range(copies):
        await put(store, f"ticket{number}", TICKET)
    await put(store, "answer", ANSWER)
    embedder = FakeEmbedder()
    while with_vectors and (pending := await store.pending("help", embedder.name, 500)):
        rows = (await embedder.embed([chunk.content for chunk in pending])).rows
        await store.put_vectors("help", embedder.name, tuple(c.id for c in pending), np.asarray(rows))
    settings = CollectionSettings("help", "", (), ("*",), "fake" if with_vectors else None)
    return Library(store, [settings], {"fake": Remembered(embedder)})


@pytest.mark.parametrize("with_vectors", [False, True])
@pytest.mark.parametrize("copies", [40, 400])
async def test_copies_do_not_take_the_places_of_what_else_is_there(
    store: Store,  # noqa: F811 - a fixture
    copies: int,
    with_vectors: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    library = await filled(store, copies, with_vectors=with_vectors)
    hits = (await library.search("when does my refund arrive", ["help"], "t", 10)).hits
    assert len(hits) == 2
    assert hits[0].text == TICKET
    assert hits[1].document == "answer"


async def test_what_is_below_the_threshold_is_not_looked_for(store: Store) -> None:  # noqa: F811 - a fixture
    library = await filled(store, 40, with_vectors=False)
    best = (await library.search("when does my refund arrive", ["help"], "t", 10)).score
    hits = (await library.search("when does my refund arrive", ["help"], "t", 10, threshold=best * 0.99)).hits
    assert [hit.text for hit in hits] == [TICKET]
