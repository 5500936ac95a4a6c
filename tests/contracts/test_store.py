"""What every knowledge store promises. A new store joins by one entry in OPENINGS."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.core.errors import KnowledgeUnavailable
from gateway.core.facts import AttributeValue
from gateway.knowledge.chunks import Passage, cut
from gateway.knowledge.document import write_document
from gateway.knowledge.embedders import DimensionMismatch
from gateway.knowledge.filters import Comparing, Comparison, Compound, Filter, matches
from gateway.knowledge.fusion import Fusion
from gateway.knowledge.stores import Ask, Entry, Pass, Probe, Put, Store
from gateway.knowledge.stores.postgresql import PostgresqlStore
from gateway.knowledge.stores.sqlite import SqliteStore

Opened = Callable[[], Store]


def _sqlite(request: pytest.FixtureRequest, folder: Path) -> Opened:
    return lambda: SqliteStore(folder / "knowledge.sqlite")


def _postgresql(request: pytest.FixtureRequest, _folder: Path) -> Opened:
    url: str = asyncio.run(request.getfixturevalue("postgres").migrated())
    return lambda: PostgresqlStore(url)


OPENINGS: dict[str, Callable[[pytest.FixtureRequest, Path], Opened]] = {"sqlite": _sqlite, "postgresql": _postgresql}


@pytest.fixture(params=sorted(OPENINGS))
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    """Opens one and the same store, as often as asked: as several processes would."""
    return OPENINGS[request.param](request, tmp_path)


@pytest.fixture
async def store(opened: Opened) -> AsyncIterator[Store]:
    made = opened()
    yield made
    await made.close()


async def put(
    store: Store, name: str, text: str, *, collection: str = "help", source: str = "s", number: int = 0, **more: Any
) -> Put:
    document = write_document(name, f"About {name}", text, f"https://x/{name}", **more)
    (done,) = await store.put(collection, source, [Entry(document, cut(document))], number)
    return done


async def search(
    store: Store,
    question: str,
    *collections: str,
    probes: dict[str, Probe] | None = None,
    limit: int = 10,
    **more: Any,
) -> tuple[Passage, ...]:
    ask = Ask(question, more.pop("team", "t"), collections or ("help",), limit, probes or {}, **more)
    return (await store.search(ask)).passages


async def found(store: Store, question: str, *collections: str, **more: Any) -> list[str]:
    return [hit.document for hit in await search(store, question, *collections, **more)]


def unit(*numbers: float) -> np.ndarray:
    row = np.array(numbers, np.float32)
    return row / np.linalg.norm(row)


class TestDocuments:
    async def test_what_was_put_is_found_with_all_it_says(self, store: Store) -> None:
        assert await put(store, "refunds", "Refunds take five working days.") == "added"
        (hit,) = await search(store, "how long do refunds take", limit=5)
        assert (hit.collection, hit.document, hit.title, hit.url) == (
            "help",
            "refunds",
            "About refunds",
            "https://x/refunds",
        )
        assert hit.text == "Refunds take five working days."
        assert hit.tokens > 0
        assert 0.5 < hit.score <= 1

    async def test_the_same_document_again_changes_nothing(self, store: Store) -> None:
        await put(store, "a", "alpha")
        before = await store.version()
        assert await put(store, "a", "alpha") == "unchanged"
        assert await store.version() == before

    async def test_the_version_of_a_document_is_told_by_collection_until_it_is_removed(self, store: Store) -> None:
        await put(store, "a", "The code is swordfish.")
        await put(store, "a", "Another text.", collection="board")
        (hit,) = await search(store, "swordfish")
        before = await store.current("a")
        assert set(before) == {"help", "board"}
        assert before["help"] == hit.version
        await put(store, "a", "The code is mackerel.")
        now = await store.current("a")
        assert now["help"] != before["help"]
        assert now["board"] == before["board"]
        await store.remove("help", "s", "a")
        assert set(await store.current("a")) == {"board"}
        assert await store.current("unheard\0of") == {}

    async def test_an_update_replaces_the_old_text(self, store: Store) -> None:
        await put(store, "a", "The code is swordfish.")
        assert await put(store, "a", "The code is mackerel.") == "updated"
        assert await found(store, "swordfish") == []
        assert await found(store, "mackerel") == ["a"]

    async def test_a_removed_document_is_gone_with_its_words(self, store: Store) -> None:
        await put(store, "a", "swordfish " * 400)
        assert await store.remove("help", "s", "a") is True
        assert await store.remove("help", "s", "a") is False
        assert await found(store, "swordfish") == []
        assert await store.documents("help", "s") == frozenset()

    async def test_the_same_id_in_two_sources_is_two_documents(self, store: Store) -> None:
        await put(store, "readme", "alpha words", source="one")
        await put(store, "readme", "beta words", source="two")
        await store.remove("help", "one", "readme")
        assert await found(store, "beta") == ["readme"]
        assert await found(store, "alpha") == []

    async def test_sources_no_longer_named_go(self, store: Store) -> None:
        await put(store, "a", "alpha", source="one")
        await put(store, "b", "beta", source="two")
        await put(store, "c", "beta", collection="other", source="two")
        assert await store.keep_sources("help", ["one"]) == 1
        assert await found(store, "beta", "help", "other") == ["c"]
        assert await store.keep_sources("help", []) == 1

    async def test_every_change_raises_the_version_and_reading_does_not(self, store: Store) -> None:
        versions = [await store.version()]
        for change in (put(store, "a", "alpha"), put(store, "a", "beta"), store.remove("help", "s", "a")):
            await change
            versions.append(await store.version())
        assert versions == sorted(set(versions))
        await found(store, "alpha")
        assert await store.version() == versions[-1]

    async def test_what_is_written_is_there_for_another_opening(self, opened: Opened) -> None:
        first = opened()
        await put(first, "a", "alpha")
        version = await first.version()
        await first.close()
        second = opened()
        assert await found(second, "alpha") == ["a"]
        assert await second.version() == version
        await second.close()

    async def test_another_opening_sees_a_change_at_once(self, opened: Opened) -> None:
        """Two workers are two processes over one store: what one writes, the other answers from."""
        one, other = opened(), opened()
        await put(one, "a", "The code is swordfish.")
        assert await found(other, "swordfish") == ["a"]
        await put(one, "a", "The code is mackerel.")
        assert await found(other, "swordfish") == []
        assert await found(other, "mackerel") == ["a"]
        await one.remove("help", "s", "a")
        assert await found(other, "mackerel") == []
        await one.close()
        await other.close()

    async def test_what_a_document_says_of_itself_comes_back(self, store: Store) -> None:
        attributes = (("year", 2026.0), ("draft", False), ("team", 'it\'s "quoted"'))
        await put(store, "a", "alpha", attributes=attributes, filename="a b.pdf", readers=("t", "u"))
        (hit,) = await search(store, "alpha")
        assert hit.attributes == tuple(sorted(attributes))
        assert (hit.filename, hit.readers) == ("a b.pdf", ("t", "u"))

    async def test_several_documents_go_in_together_or_not_at_all(self, store: Store) -> None:
        entries = [Entry(one, cut(one)) for one in (write_document(n, n, f"alpha {n}") for n in ("a", "b"))]
        assert await store.put("help", "s", entries) == ("added", "added")
        changed = write_document("b", "b", "alpha again")
        broken = Entry(write_document("c", "c", "alpha"), (None,))  # type: ignore[arg-type]  # that is what is broken
        with pytest.raises(AttributeError):
            await store.put("help", "s", [Entry(changed, cut(changed)), broken])
        assert await store.documents("help", "s") == {"a", "b"}
        assert await found(store, "again") == []


class TestCursor:
    async def test_a_finished_pass_leaves_its_cursor(self, store: Store) -> None:
        assert await store.cursor("help", "s") is None
        await store.finish("help", "s", "c1", at=10.0)
        assert await store.cursor("help", "s") == "c1"

    async def test_a_change_takes_the_cursor_until_the_pass_is_finished(self, store: Store) -> None:
        """A pass that is killed is begun anew: what was removed at the source meanwhile would never be told."""
        await store.finish("help", "s", "c1", at=10.0)
        await put(store, "a", "alpha", source="other")
        assert await store.cursor("help", "s") == "c1"
        await put(store, "a", "alpha")
        assert await store.cursor("help", "s") is None
        await store.finish("help", "s", "c2", at=11.0)
        await store.remove("help", "s", "a")
        assert await store.cursor("help", "s") is None


class TestSearch:
    async def test_only_the_asked_collections_are_searched(self, store: Store) -> None:
        await put(store, "a", "secret swordfish", collection="private")
        await put(store, "b", "public swordfish", collection="open")
        assert await found(store, "swordfish", "open") == ["b"]
        assert await found(store, "swordfish", "absent") == []
        assert sorted(await found(store, "swordfish", "open", "private")) == ["a", "b"]

    async def test_other_collections_move_neither_order_nor_score(self, opened: Opened) -> None:
        """A score that moved with texts one may not read would tell of them."""

        async def anew() -> list[tuple[str, float]]:
            """As another process finds it: this one remembers what a collection that has not changed holds."""
            other = opened()
            hits = await search(other, "refunds shipping", limit=10)
            await other.close()
            return [(hit.document, hit.score) for hit in hits]

        store = opened()
        for n in range(6):
            await put(store, f"d{n}", "refunds take days " * (n + 1) + "shipping " * (6 - n))
        before = await anew()
        for text in ("refunds " * 5, "nothing of the matter, at length " * 40):
            for n in range(40):
                await put(store, f"x{n}", text, collection="private")
            assert await anew() == before
        await store.close()

    async def test_inflected_words_match(self, store: Store) -> None:
        await put(store, "a", "We refunded the payments.")
        assert await found(store, "refunding a payment") == ["a"]

    async def test_a_question_beside_the_matter_scores_well_below_half(self, store: Store) -> None:
        for n in range(30):
            await put(store, f"d{n}", f"Refunds of order type {n} take five working days after the return arrives.")
        good = await search(store, "How many working days do refunds of a return take?", limit=5)
        bad = await search(store, "Who painted the ceiling of the chapel in five years?", limit=5)
        assert good[0].score > 0.6
        assert all(hit.score < 0.4 for hit in bad)

    @pytest.mark.parametrize(
        "question",
        [
            "",
            "   ",
            "?",
            '"',
            "a-b",
            "NOT",
            "x AND",
            "NEAR(",
            "col:x",
            "*",
            "'; DROP TABLE chunks; --",
            "\0",
            "\ud800",
            "日本",
            "ß" * 9999,
        ],
    )
    async def test_no_text_is_a_query_language(self, store: Store, question: str) -> None:
        await put(store, "a", "alpha")
        await search(store, question, limit=5)
        assert await found(store, "alpha") == ["a"]

    async def test_scores_fall_from_hit_to_hit(self, store: Store) -> None:
        for n in range(8):
            await put(store, f"d{n}", "refund " * n + "word " * (9 - n))
        scores = [hit.score for hit in await search(store, "refund word", limit=10)]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)

    async def test_a_closed_store_is_unavailable(self, store: Store) -> None:
        await store.close()
        with pytest.raises(KnowledgeUnavailable):
            await search(store, "alpha", limit=5)
        with pytest.raises(KnowledgeUnavailable):
            await store.version()


class TestVectors:
    def probe(self, *numbers: float) -> dict[str, Probe]:
        return {"help": Probe("e", unit(*numbers))}

    async def fill(self, store: Store, *rows: np.ndarray) -> None:
        pending = await store.pending("help", "e", 100)
        await store.put_vectors("help", "e", tuple(chunk.id for chunk in pending), np.stack(rows))

    async def test_words_answer_before_vectors_are_there(self, store: Store) -> None:
        await put(store, "a", "alpha")
        assert [hit.document for hit in await search(store, "alpha", probes=self.probe(1, 0), limit=5)] == ["a"]

    async def test_pending_chunks_carry_their_headings_and_end_with_their_vectors(self, store: Store) -> None:
        await put(store, "a", "alpha")
        (pending,) = await store.pending("help", "e", 10)
        assert pending.content == "About a\nalpha"
        await self.fill(store, unit(1, 0))
        assert await store.pending("help", "e", 10) == ()
        assert len(await store.pending("help", "another", 10)) == 1

    async def test_a_vector_finds_what_shares_no_word(self, store: Store) -> None:
        await put(store, "a", "alpha")
        await put(store, "b", "beta")
        await self.fill(store, unit(1, 0), unit(0, 1))
        hits = await search(store, "gamma", probes=self.probe(0.1, 1), limit=5)
        assert hits[0].document == "b"

    async def test_an_edit_asks_for_vectors_of_what_changed_only(self, store: Store) -> None:
        paragraphs = [
            f"Paragraph {n}. " + "The card is sent by post within a week of the order. " * 12 for n in range(8)
        ]
        await put(store, "a", "\n\n".join(paragraphs))
        whole = await store.pending("help", "e", 100)
        await store.put_vectors("help", "e", tuple(c.id for c in whole), np.stack([unit(1, 0)] * len(whole)))
        paragraphs[3] = paragraphs[3].replace("week", "month")
        await put(store, "a", "\n\n".join(paragraphs))
        assert 1 <= len(await store.pending("help", "e", 100)) <= 2 < len(whole)

    async def test_removed_chunks_leave_the_vectors_too(self, store: Store) -> None:
        await put(store, "a", "alpha")
        await put(store, "b", "beta")
        await self.fill(store, unit(1, 0), unit(0, 1))
        assert len(await search(store, "x", probes=self.probe(1, 1), limit=5)) == 2
        await store.remove("help", "s", "a")
        assert [hit.document for hit in await search(store, "x", probes=self.probe(1, 1), limit=5)] == ["b"]

    async def test_vectors_of_chunks_that_went_meanwhile_are_passed_over(self, store: Store) -> None:
        await put(store, "a", "alpha")
        pending = await store.pending("help", "e", 10)
        await store.remove("help", "s", "a")
        await store.put_vectors("help", "e", tuple(c.id for c in pending), np.stack([unit(1, 0)]))
        assert await search(store, "x", probes=self.probe(1, 0), limit=5) == ()

    async def test_vectors_of_other_collections_are_not_searched(self, store: Store) -> None:
        await put(store, "a", "alpha")
        await put(store, "secret", "omega", collection="private")
        await self.fill(store, unit(1, 0))
        (pending,) = await store.pending("private", "e", 10)
        await store.put_vectors("private", "e", (pending.id,), np.stack([unit(0, 1)]))
        hits = await search(store, "x", probes=self.probe(0, 1), limit=5)
        assert {hit.document for hit in hits} <= {"a"}

    async def test_another_dimension_is_refused(self, store: Store) -> None:
        await put(store, "a", "alpha")
        await put(store, "b", "beta")
        first, second = await store.pending("help", "e", 10)
        await store.put_vectors("help", "e", (first.id,), np.stack([unit(1, 0)]))
        with pytest.raises(DimensionMismatch):
            await store.put_vectors("help", "e", (second.id,), np.stack([unit(1, 0, 0)]))
        with pytest.raises(DimensionMismatch):
            await search(store, "alpha", probes=self.probe(1, 0, 0), limit=5)


class TestRights:
    """Of documents that the team may not read nothing is found, weighed or counted."""

    async def fill(self, store: Store) -> None:
        await put(store, "open", "The swordfish is for all.")
        await put(store, "legal", "The swordfish is for lawyers.", readers=("legal",))
        await put(store, "both", "The swordfish is for two.", readers=("legal", "hr"))
        await put(store, "nobody", "The swordfish is for nobody.", readers=())

    async def test_readers_are_compared_with_the_team(self, store: Store) -> None:
        await self.fill(store)
        for team, seen in (("t", {"open"}), ("legal", {"open", "legal", "both"}), ("hr", {"open", "both"})):
            assert set(await found(store, "swordfish", team=team)) == seen

    async def test_a_right_that_is_taken_away_is_gone_at_once(self, store: Store) -> None:
        await put(store, "a", "swordfish", readers=("legal",))
        assert await found(store, "swordfish", team="legal") == ["a"]
        await put(store, "a", "swordfish", readers=("hr",))
        assert await found(store, "swordfish", team="legal") == []

    async def test_what_one_may_not_read_moves_neither_order_nor_score_nor_measure(self, store: Store) -> None:
        for n in range(6):
            await put(store, f"d{n}", "refunds take days " * (n + 1) + "shipping " * (6 - n))
        await put(store, "secret0", "alpha", readers=("legal",))
        ask = Ask("refunds shipping", "t", ("help",), 10, {})
        before = [(hit.document, hit.score) for hit in (await store.search(ask)).passages]
        measured = await store.measure(ask)
        for n in range(40):
            await put(store, f"secret{n}", "refunds take days shipping " * 4, readers=("legal",))
        after = [(hit.document, hit.score) for hit in (await store.search(ask)).passages]
        assert [name for name, _ in after] == [name for name, _ in before]
        # The usual length of a chunk is the collection's, whoever asks.
        assert [score for _, score in after] == pytest.approx([score for _, score in before], rel=0.15)
        assert (await store.measure(ask))["help"].coverage == measured["help"].coverage

    async def test_rights_hold_for_vectors_too(self, store: Store) -> None:
        await self.fill(store)
        pending = await store.pending("help", "e", 10)
        await store.put_vectors("help", "e", tuple(c.id for c in pending), np.stack([unit(1, 0)] * 4))
        probes = {"help": Probe("e", unit(1, 0))}
        assert set(await found(store, "zzz", probes=probes)) == {"open"}
        assert set(await found(store, "zzz", probes=probes, team="hr")) == {"open", "both"}

    async def test_a_filter_fills_all_places_with_what_passes(self, store: Store) -> None:
        """Ranked first and filtered after, the five would be gone before they are looked at."""
        for n in range(150):
            await put(store, f"d{n}", "swordfish " * 9, attributes=(("kind", "news"),))
        for n in range(5):
            await put(store, f"x{n}", "a text that says swordfish once among others", attributes=(("kind", "law"),))
        wanted = Comparison("kind", "eq", "law")
        assert set(await found(store, "swordfish", limit=5, filter=wanted)) == {f"x{n}" for n in range(5)}

    async def test_filters_mean_in_the_store_what_they_mean_everywhere(self, store: Store) -> None:
        values: list[AttributeValue] = [
            0.0,
            1.0,
            1.5,
            -2.0,
            True,
            False,
            "",
            "1",
            "true",
            "a",
            "B",
            "b'\"\\",
            "é",
            "zz",
        ]
        for n, value in enumerate(values):
            more = (("other", "x"),) if n % 2 else ()
            await put(store, f"d{n}", "swordfish", attributes=(('key "1', value), *more))
        await put(store, "none", "swordfish")
        kinds: tuple[Comparing, ...] = ("eq", "ne", "gt", "gte", "lt", "lte")
        filters: list[Filter] = [Comparison('key "1', kind, value) for kind in kinds for value in values]
        for some in ((), (1.0,), (True, "a"), (0.0, False, "zz")):
            filters += [Comparison('key "1', "in", some), Comparison('key "1', "nin", some)]
        filters += [
            Compound("and", (Comparison("other", "eq", "x"), filters[0])),
            Compound("or", (Comparison("other", "ne", "y"), Compound("and", (filters[3], filters[20])))),
            Compound("and", ()),
            Compound("or", ()),
        ]
        for wanted in filters:
            due = {
                f"d{n}"
                for n, value in enumerate(values)
                if matches(wanted, (('key "1', value), *((("other", "x"),) if n % 2 else ())))
            } | ({"none"} if matches(wanted, ()) else set())
            assert set(await found(store, "swordfish", limit=50, filter=wanted)) == due, wanted


class TestPasses:
    async def test_a_first_pass_is_a_census_and_a_later_one_is_not(self, store: Store) -> None:
        first = await store.begin("help", "s")
        assert (first.cursor, first.is_census) == (None, True)
        await store.finish("help", "s", "c1", at=1.0)
        later = await store.begin("help", "s")
        assert (later.cursor, later.is_census) == ("c1", False)

    async def test_a_pass_that_was_cut_off_goes_on_from_its_mark_as_what_it_was(self, store: Store) -> None:
        first = await store.begin("help", "s")
        await put(store, "a", "alpha", number=first.number)
        await store.mark("help", "s", "half", first.number)
        again = await store.begin("help", "s")
        assert again == Pass(first.number, "half", is_census=True)
        await store.finish("help", "s", "c1", at=1.0)
        later = await store.begin("help", "s")
        await put(store, "a", "beta", number=later.number)
        await store.mark("help", "s", "half of the second", later.number)
        assert await store.begin("help", "s") == Pass(later.number, "half of the second", is_census=False)

    async def test_a_census_removes_what_it_has_not_named(self, store: Store) -> None:
        for name in ("a", "b", "c/1", "c/2", "c_2"):
            await put(store, name, f"alpha {name}")
        await put(store, "z", "alpha", source="other")
        counting = await store.begin("help", "s", anew=True)
        assert await put(store, "a", "alpha a", number=counting.number) == "unchanged"
        await store.keep("help", "s", "c/*", counting.number)
        await store.keep("help", "s", "nothing", counting.number)
        assert await store.sweep("help", "s", counting.number) == 2
        assert await store.sweep("help", "s", counting.number) == 0
        assert await store.documents("help", "s") == {"a", "c/1", "c/2"}
        assert sorted(await found(store, "alpha", "help")) == ["a", "c/1", "c/2", "z"]
        assert await store.count("help", "s") == 3

    async def test_of_two_passes_at_once_neither_takes_the_others_for_gone(self, store: Store) -> None:
        """A command beside a server that has just begun: both read all there is."""
        one = await store.begin("help", "s")
        await put(store, "a", "alpha", number=one.number)
        other = await store.begin("help", "s")
        assert other.number > one.number
        for name in ("a", "b"):
            await put(store, name, "alpha", number=other.number)
        await put(store, "a", "alpha", number=one.number)
        await put(store, "b", "beta", number=one.number)
        await store.keep("help", "s", "*", one.number)
        assert await store.sweep("help", "s", one.number) == 0
        assert await store.sweep("help", "s", other.number) == 0
        await store.mark("help", "s", "the first's half", one.number)
        assert (await store.begin("help", "s")).cursor is None
        assert await store.documents("help", "s") == {"a", "b"}

    async def test_begun_anew_nothing_marked_counts(self, store: Store) -> None:
        first = await store.begin("help", "s")
        await put(store, "a", "alpha", number=first.number)
        await store.mark("help", "s", "half", first.number)
        anew = await store.begin("help", "s", anew=True)
        assert (anew.cursor, anew.is_census) == (None, True)
        assert await store.sweep("help", "s", anew.number) == 1


class TestServing:
    async def fill(self, store: Store, embedder: str, row: np.ndarray) -> None:
        pending = await store.pending("help", embedder, 100)
        await store.put_vectors("help", embedder, tuple(c.id for c in pending), np.stack([row] * len(pending)))

    async def test_the_first_vectors_serve_until_others_are_told_to(self, store: Store) -> None:
        await put(store, "a", "alpha")
        assert await store.serving() == {}
        await self.fill(store, "old", unit(1, 0))
        await self.fill(store, "new", unit(0, 1, 0))
        assert await store.serving() == {"help": "old"}
        assert await found(store, "zzz", probes={"help": Probe("old", unit(1, 0))}) == ["a"]
        await store.serve("help", "new")
        assert await store.serving() == {"help": "new"}
        assert await found(store, "zzz", probes={"help": Probe("new", unit(0, 1, 0))}) == ["a"]
        assert await found(store, "zzz", probes={"help": Probe("old", unit(1, 0))}) == []
        assert len(await store.pending("help", "old", 10)) == 1


class TestFusion:
    async def test_weights_and_method_decide_the_order(self, store: Store) -> None:
        await put(store, "words", "swordfish swordfish swordfish")
        await put(store, "meaning", "something else")
        for n in range(40):  # Between the two by meaning: two alone are neighbours by rank.
            await put(store, f"d{n}", f"nothing of that {n}")
        pending = await store.pending("help", "e", 50)
        rows = [unit(0, 1), unit(1, 0), *[unit(1, 1)] * 40]
        await store.put_vectors("help", "e", tuple(c.id for c in pending), np.stack(rows))
        probes = {"help": Probe("e", unit(1, 0))}
        for method in ("convex", "rrf"):
            for vectors, best in ((0.9, "meaning"), (0.1, "words")):
                fusion = Fusion(method, vectors, 1 - vectors)
                hits = await search(store, "swordfish", probes=probes, fusion=fusion)
                assert hits[0].document == best
                assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


class TestAtOnce:
    async def test_readers_see_the_old_document_or_the_new_and_never_a_mix(self, store: Store) -> None:
        """One transaction per document, one per search: both halves of a document always match."""
        texts = [
            "\n\n".join(f"## Part {part}\n\nmarker edition{n} " + "filler words here " * 50 for part in range(4))
            for n in range(2)
        ]
        await put(store, "a", texts[0])
        stop = asyncio.Event()
        mixed: list[set[str]] = []

        async def read() -> None:
            while not stop.is_set():
                hits = await search(store, "marker")
                seen = {word for hit in hits for word in hit.text.split() if word.startswith("edition")}
                if len(seen) != 1 or len({hit.version for hit in hits}) != 1:
                    mixed.append(seen)

        async with asyncio.TaskGroup() as readers:
            for _ in range(3):
                readers.create_task(read())
            for n in range(60):
                await put(store, "a", texts[(n + 1) % 2])
            stop.set()
        assert not mixed

    async def test_many_writers_lose_nothing(self, opened: Opened) -> None:
        """Over two openings, as two processes: each waits for the other's transaction."""
        stores = [opened(), opened()]

        async def write(part: int) -> None:
            for n in range(20):
                await put(stores[part % 2], f"d{part}-{n}", f"alpha text {part} {n}")

        async with asyncio.TaskGroup() as writers:
            for part in range(4):
                writers.create_task(write(part))
        assert len(await stores[0].documents("help", "s")) == 80
        assert len(await search(stores[1], "alpha", limit=200)) == 80
        for one in stores:
            await one.close()
