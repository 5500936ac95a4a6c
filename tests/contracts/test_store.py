"""What every knowledge store promises. A new store joins by one line in STORES."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from gateway.core.errors import KnowledgeUnavailable
from gateway.knowledge.chunks import cut
from gateway.knowledge.document import write_document
from gateway.knowledge.embedders import DimensionMismatch
from gateway.knowledge.stores import Probe, Put, Store
from gateway.knowledge.stores.sqlite import SqliteStore

STORES: dict[str, Callable[[Path], Store]] = {"sqlite": lambda folder: SqliteStore(folder / "knowledge.sqlite")}


@pytest.fixture(params=sorted(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made = STORES[request.param](tmp_path)
    yield made
    made.close()


def put(store: Store, name: str, text: str, *, collection: str = "help", source: str = "s") -> Put:
    document = write_document(name, f"About {name}", text, f"https://x/{name}")
    return store.put(collection, source, document, cut(document))


def found(store: Store, question: str, *collections: str) -> list[str]:
    return [hit.document for hit in store.search(question, collections or ("help",), {}, 10)]


def unit(*numbers: float) -> np.ndarray:
    row = np.array(numbers, np.float32)
    return row / np.linalg.norm(row)


class TestDocuments:
    def test_what_was_put_is_found_with_all_it_says(self, store: Store) -> None:
        assert put(store, "refunds", "Refunds take five working days.") == "added"
        (hit,) = store.search("how long do refunds take", ("help",), {}, 5)
        assert (hit.collection, hit.document, hit.title, hit.url) == (
            "help",
            "refunds",
            "About refunds",
            "https://x/refunds",
        )
        assert hit.text == "Refunds take five working days."
        assert hit.tokens > 0
        assert 0.5 < hit.score <= 1

    def test_the_same_document_again_changes_nothing(self, store: Store) -> None:
        put(store, "a", "alpha")
        before = store.version()
        assert put(store, "a", "alpha") == "unchanged"
        assert store.version() == before

    def test_an_update_replaces_the_old_text(self, store: Store) -> None:
        put(store, "a", "The code is swordfish.")
        assert put(store, "a", "The code is mackerel.") == "updated"
        assert found(store, "swordfish") == []
        assert found(store, "mackerel") == ["a"]

    def test_a_removed_document_is_gone_with_its_words(self, store: Store) -> None:
        put(store, "a", "swordfish " * 400)
        assert store.remove("help", "s", "a") is True
        assert store.remove("help", "s", "a") is False
        assert found(store, "swordfish") == []
        assert store.documents("help", "s") == frozenset()

    def test_the_same_id_in_two_sources_is_two_documents(self, store: Store) -> None:
        put(store, "readme", "alpha words", source="one")
        put(store, "readme", "beta words", source="two")
        store.remove("help", "one", "readme")
        assert found(store, "beta") == ["readme"]
        assert found(store, "alpha") == []

    def test_sources_no_longer_named_go(self, store: Store) -> None:
        put(store, "a", "alpha", source="one")
        put(store, "b", "beta", source="two")
        put(store, "c", "beta", collection="other", source="two")
        assert store.keep_sources("help", ["one"]) == 1
        assert found(store, "beta", "help", "other") == ["c"]
        assert store.keep_sources("help", []) == 1

    def test_every_change_raises_the_version_and_reading_does_not(self, store: Store) -> None:
        versions = [store.version()]
        for change in (
            lambda: put(store, "a", "alpha"),
            lambda: put(store, "a", "beta"),
            lambda: store.remove("help", "s", "a"),
        ):
            change()
            versions.append(store.version())
        assert versions == sorted(set(versions))
        found(store, "alpha")
        assert store.version() == versions[-1]

    def test_what_is_written_is_there_for_another_opening(self, tmp_path: Path) -> None:
        for opened in STORES.values():
            first = opened(tmp_path / "again")
            put(first, "a", "alpha")
            version = first.version()
            first.close()
            second = opened(tmp_path / "again")
            assert found(second, "alpha") == ["a"]
            assert second.version() == version
            second.close()

    def test_another_opening_sees_a_change_at_once(self, tmp_path: Path) -> None:
        """Two workers are two processes over one store: what one writes, the other answers from."""
        for opened in STORES.values():
            one, other = opened(tmp_path / "shared"), opened(tmp_path / "shared")
            put(one, "a", "The code is swordfish.")
            assert found(other, "swordfish") == ["a"]
            put(one, "a", "The code is mackerel.")
            assert found(other, "swordfish") == []
            assert found(other, "mackerel") == ["a"]
            one.remove("help", "s", "a")
            assert found(other, "mackerel") == []
            one.close()
            other.close()


class TestCursor:
    def test_a_finished_pass_leaves_its_cursor(self, store: Store) -> None:
        assert store.cursor("help", "s") is None
        store.finish("help", "s", "c1", at=10.0)
        assert store.cursor("help", "s") == "c1"

    def test_a_change_takes_the_cursor_until_the_pass_is_finished(self, store: Store) -> None:
        """A pass that is killed is begun anew: what was removed at the source meanwhile would never be told."""
        store.finish("help", "s", "c1", at=10.0)
        put(store, "a", "alpha", source="other")
        assert store.cursor("help", "s") == "c1"
        put(store, "a", "alpha")
        assert store.cursor("help", "s") is None
        store.finish("help", "s", "c2", at=11.0)
        store.remove("help", "s", "a")
        assert store.cursor("help", "s") is None


class TestSearch:
    def test_only_the_asked_collections_are_searched(self, store: Store) -> None:
        put(store, "a", "secret swordfish", collection="private")
        put(store, "b", "public swordfish", collection="open")
        assert found(store, "swordfish", "open") == ["b"]
        assert found(store, "swordfish", "absent") == []
        assert sorted(found(store, "swordfish", "open", "private")) == ["a", "b"]

    def test_other_collections_move_neither_order_nor_score(self, store: Store) -> None:
        """A score that moved with texts one may not read would tell of them."""
        for n in range(6):
            put(store, f"d{n}", "refunds take days " * (n + 1) + "shipping " * (6 - n))
        before = [(hit.document, hit.score) for hit in store.search("refunds shipping", ("help",), {}, 10)]
        for n in range(40):
            put(store, f"x{n}", "refunds " * 5, collection="private")
        after = [(hit.document, hit.score) for hit in store.search("refunds shipping", ("help",), {}, 10)]
        assert [name for name, _ in after] == [name for name, _ in before]
        assert [score for _, score in after] == pytest.approx([score for _, score in before], rel=0.15)

    def test_inflected_words_match(self, store: Store) -> None:
        put(store, "a", "We refunded the payments.")
        assert found(store, "refunding a payment") == ["a"]

    def test_a_question_beside_the_matter_scores_well_below_half(self, store: Store) -> None:
        for n in range(30):
            put(store, f"d{n}", f"Refunds of order type {n} take five working days after the return arrives.")
        good = store.search("How many working days do refunds of a return take?", ("help",), {}, 5)
        bad = store.search("Who painted the ceiling of the chapel in five years?", ("help",), {}, 5)
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
    def test_no_text_is_a_query_language(self, store: Store, question: str) -> None:
        put(store, "a", "alpha")
        store.search(question, ("help",), {}, 5)
        assert found(store, "alpha") == ["a"]

    def test_scores_fall_from_hit_to_hit(self, store: Store) -> None:
        for n in range(8):
            put(store, f"d{n}", "refund " * n + "word " * (9 - n))
        scores = [hit.score for hit in store.search("refund word", ("help",), {}, 10)]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)

    def test_a_closed_store_is_unavailable(self, store: Store) -> None:
        store.close()
        with pytest.raises(KnowledgeUnavailable):
            store.search("alpha", ("help",), {}, 5)
        with pytest.raises(KnowledgeUnavailable):
            store.version()


class TestVectors:
    def probe(self, *numbers: float) -> dict[str, Probe]:
        return {"help": Probe("e", unit(*numbers))}

    def fill(self, store: Store, *rows: np.ndarray) -> None:
        pending = store.pending("help", "e", 100)
        store.put_vectors("help", "e", tuple(chunk.id for chunk in pending), np.stack(rows))

    def test_words_answer_before_vectors_are_there(self, store: Store) -> None:
        put(store, "a", "alpha")
        assert [hit.document for hit in store.search("alpha", ("help",), self.probe(1, 0), 5)] == ["a"]

    def test_pending_chunks_carry_their_headings_and_end_with_their_vectors(self, store: Store) -> None:
        put(store, "a", "alpha")
        (pending,) = store.pending("help", "e", 10)
        assert pending.content == "About a\nalpha"
        self.fill(store, unit(1, 0))
        assert store.pending("help", "e", 10) == ()
        assert len(store.pending("help", "another", 10)) == 1

    def test_a_vector_finds_what_shares_no_word(self, store: Store) -> None:
        put(store, "a", "alpha")
        put(store, "b", "beta")
        self.fill(store, unit(1, 0), unit(0, 1))
        hits = store.search("gamma", ("help",), self.probe(0.1, 1), 5)
        assert hits[0].document == "b"

    def test_an_edit_asks_for_vectors_of_what_changed_only(self, store: Store) -> None:
        paragraphs = [
            f"Paragraph {n}. " + "The card is sent by post within a week of the order. " * 12 for n in range(8)
        ]
        put(store, "a", "\n\n".join(paragraphs))
        whole = store.pending("help", "e", 100)
        store.put_vectors("help", "e", tuple(c.id for c in whole), np.stack([unit(1, 0)] * len(whole)))
        paragraphs[3] = paragraphs[3].replace("week", "month")
        put(store, "a", "\n\n".join(paragraphs))
        assert 1 <= len(store.pending("help", "e", 100)) <= 2 < len(whole)

    def test_removed_chunks_leave_the_vectors_too(self, store: Store) -> None:
        put(store, "a", "alpha")
        put(store, "b", "beta")
        self.fill(store, unit(1, 0), unit(0, 1))
        assert len(store.search("x", ("help",), self.probe(1, 1), 5)) == 2
        store.remove("help", "s", "a")
        assert [hit.document for hit in store.search("x", ("help",), self.probe(1, 1), 5)] == ["b"]

    def test_vectors_of_chunks_that_went_meanwhile_are_passed_over(self, store: Store) -> None:
        put(store, "a", "alpha")
        pending = store.pending("help", "e", 10)
        store.remove("help", "s", "a")
        store.put_vectors("help", "e", tuple(c.id for c in pending), np.stack([unit(1, 0)]))
        assert store.search("x", ("help",), self.probe(1, 0), 5) == ()

    def test_vectors_of_other_collections_are_not_searched(self, store: Store) -> None:
        put(store, "a", "alpha")
        put(store, "secret", "omega", collection="private")
        self.fill(store, unit(1, 0))
        (pending,) = store.pending("private", "e", 10)
        store.put_vectors("private", "e", (pending.id,), np.stack([unit(0, 1)]))
        hits = store.search("x", ("help",), self.probe(0, 1), 5)
        assert {hit.document for hit in hits} <= {"a"}

    def test_another_dimension_is_refused(self, store: Store) -> None:
        put(store, "a", "alpha")
        put(store, "b", "beta")
        first, second = store.pending("help", "e", 10)
        store.put_vectors("help", "e", (first.id,), np.stack([unit(1, 0)]))
        with pytest.raises(DimensionMismatch):
            store.put_vectors("help", "e", (second.id,), np.stack([unit(1, 0, 0)]))
        with pytest.raises(DimensionMismatch):
            store.search("alpha", ("help",), self.probe(1, 0, 0), 5)


class TestThreads:
    def test_readers_see_the_old_document_or_the_new_and_never_a_mix(self, store: Store) -> None:
        """One transaction per document, one per search: both halves of a document always match."""
        texts = [
            "\n\n".join(f"## Part {part}\n\nmarker edition{n} " + "filler words here " * 50 for part in range(4))
            for n in range(2)
        ]
        put(store, "a", texts[0])
        stop = threading.Event()
        mixed: list[set[str]] = []
        faults: list[BaseException] = []

        def read() -> None:
            try:
                while not stop.is_set():
                    hits = store.search("marker", ("help",), {}, 10)
                    seen = {word for hit in hits for word in hit.text.split() if word.startswith("edition")}
                    if len(seen) != 1 or len({hit.version for hit in hits}) != 1:
                        mixed.append(seen)
            except BaseException as fault:  # noqa: BLE001 - a thread's fault must reach the test
                faults.append(fault)

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        for n in range(60):
            put(store, "a", texts[(n + 1) % 2])
        stop.set()
        for reader in readers:
            reader.join()
        assert not faults
        assert not mixed

    def test_many_writers_lose_nothing(self, store: Store) -> None:
        def write(part: int) -> None:
            for n in range(20):
                put(store, f"d{part}-{n}", f"alpha text {part} {n}")

        writers = [threading.Thread(target=write, args=(part,)) for part in range(4)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert len(store.documents("help", "s")) == 80
        assert len(store.search("alpha", ("help",), {}, 200)) == 80
