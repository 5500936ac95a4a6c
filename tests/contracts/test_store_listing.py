"""Documents one by one, as a team may see them, in every knowledge store."""

from gateway.knowledge.stores import Kept, Listing, Store
from tests.contracts.test_store import opened, put, store  # noqa: F401 - the fixtures of the whole suite


def names(found: tuple[Kept, ...]) -> list[str]:
    return [kept.document for kept in found]


async def test_documents_are_told_with_what_is_known_of_them(store: Store) -> None:  # noqa: F811 - a fixture
    await put(store, "b", "Text of b: ä.", attributes=(("lang", "en"), ("year", 2026.0)), filename="b.md")
    (kept,) = await store.listed(Listing("help", "t", 10))
    assert (kept.document, kept.title, kept.filename) == ("b", "About b", "b.md")
    assert kept.attributes == (("lang", "en"), ("year", 2026.0))
    assert kept.size == len("Text of b: ä.".encode())
    assert kept.version
    assert await store.listed(Listing("help", "t", 10, document="a")) == ()
    assert await store.texts("help", "t", "b") == ("Text of b: ä.",)
    assert await store.texts("help", "t", "a") == ()


async def test_pages_follow_each_other_both_ways(store: Store) -> None:  # noqa: F811 - a fixture
    for name in ("a", "B", "c", "ä"):
        await put(store, name, f"Text of {name}.")
    assert names(await store.listed(Listing("help", "t", 3))) == ["B", "a", "c"]
    assert names(await store.listed(Listing("help", "t", 3, after="c"))) == ["ä"]
    assert names(await store.listed(Listing("help", "t", 2, descends=True, after="c"))) == ["a", "B"]


async def test_what_two_sources_have_is_one_file(store: Store) -> None:  # noqa: F811 - a fixture
    await put(store, "a", "One.", source="one")
    await put(store, "a", "Two.", source="two")
    assert names(await store.listed(Listing("help", "t", 10))) == ["a"]


async def test_a_document_with_readers_is_there_for_them_alone(store: Store) -> None:  # noqa: F811 - a fixture
    await put(store, "open", "For all.")
    await put(store, "secret", "For one.", readers=("finance",))
    assert names(await store.listed(Listing("help", "support", 10))) == ["open"]
    assert names(await store.listed(Listing("help", "finance", 10))) == ["open", "secret"]
    assert await store.listed(Listing("help", "support", 10, document="secret")) == ()
    assert await store.texts("help", "support", "secret") == ()
    assert await store.texts("help", "finance", "secret") == ("For one.",)
