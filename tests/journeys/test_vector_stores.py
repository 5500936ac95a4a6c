"""Files and vector stores through the official SDK: uploaded, loaded, searched, filtered, paged, taken away."""

import time
from collections.abc import Iterator

import openai
import pytest
from openai.types import VectorStore
from openai.types.chat import ChatCompletionMessageParam

from tests.fakes.running_gateway import RunningGateway

REFUNDS = b"# Refunds\n\nA refund takes 5 business days after we received the parcel.\n"
QUOKKAS = b"# Quokkas\n\nThe quokka is a small marsupial that lives on Rottnest Island.\n"


@pytest.fixture
def client(gateway: RunningGateway) -> openai.OpenAI:
    return gateway.client()


@pytest.fixture
def store(client: openai.OpenAI) -> Iterator[VectorStore]:
    made = client.vector_stores.create(name="animals", metadata={"owner": "zoo"})
    yield made
    client.vector_stores.delete(made.id)


class TestFiles:
    def test_what_was_uploaded_is_told_listed_and_read_back(self, client: openai.OpenAI) -> None:
        made = client.files.create(file=("quokka.md", QUOKKAS), purpose="assistants")
        assert (made.object, made.filename, made.bytes, made.purpose) == (
            "file",
            "quokka.md",
            len(QUOKKAS),
            "assistants",
        )
        assert client.files.retrieve(made.id) == made
        assert client.files.content(made.id).read() == QUOKKAS
        assert client.files.wait_for_processing(made.id).status == "processed"
        assert made.id in [one.id for one in client.files.list(purpose="assistants")]
        gone = client.files.delete(made.id)
        assert gone.deleted
        with pytest.raises(openai.NotFoundError):
            client.files.retrieve(made.id)

    def test_a_file_may_end(self, client: openai.OpenAI) -> None:
        made = client.files.create(
            file=("a.md", QUOKKAS), purpose="user_data", expires_after={"anchor": "created_at", "seconds": 3600}
        )
        assert made.expires_at == made.created_at + 3600
        with pytest.raises(openai.BadRequestError, match="3600"):
            client.files.create(
                file=("a.md", QUOKKAS), purpose="user_data", expires_after={"anchor": "created_at", "seconds": 5}
            )
        client.files.delete(made.id)

    def test_a_file_of_several_parts_comes_back_byte_for_byte(self, client: openai.OpenAI) -> None:
        content = bytes(range(256)) * 6000
        made = client.files.create(file=("large.bin", content), purpose="user_data")
        assert client.files.content(made.id).read() == content
        client.files.delete(made.id)

    def test_pages_are_cut_exactly_and_survive_deleting_on_the_way(self, gateway: RunningGateway) -> None:
        client = gateway.client("pages")
        ids = [client.files.create(file=(f"{n}.md", QUOKKAS), purpose="user_data").id for n in range(5)]
        page = client.files.list(purpose="user_data", limit=5, order="asc")
        assert [one.id for one in page.data] == ids
        assert not page.has_more
        assert client.files.list(purpose="user_data", limit=4, order="asc").has_more
        seen = []
        for one in client.files.list(purpose="user_data", limit=2, order="desc"):
            seen.append(one.id)
            client.files.delete(one.id)
        assert seen == ids[::-1]

    def test_a_list_has_ours_first_and_the_providers_after_them(self, gateway: RunningGateway) -> None:
        client = gateway.client("lists")
        line = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
        theirs = [client.files.create(file=("t.jsonl", line), purpose="fine-tune").id for _ in range(2)]
        ours = [client.files.create(file=("a.md", QUOKKAS), purpose="assistants").id for _ in range(3)]
        for limit in (1, 2, 3, 100):
            seen = [one.id for one in client.files.list(limit=limit)]
            assert seen[:3] == ours[::-1], limit
            assert set(theirs) <= set(seen[3:]), limit
            assert len(seen) == len(set(seen)), limit
        for one in (*ours, *theirs):
            client.files.delete(one)

    def test_nothing_is_named_with_a_nul(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.BadRequestError, match="NUL"):
            client.vector_stores.create(name="a\0b")
        with pytest.raises(openai.BadRequestError, match="NUL"):
            client.get("/vector_stores/%00", cast_to=object)

    def test_bad_uploads_say_what_is_wrong(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.BadRequestError, match="empty"):
            client.files.create(file=("a.md", b""), purpose="assistants")
        with pytest.raises(openai.BadRequestError, match="purpose"):
            client.files.create(file=("a.md", b"x"), purpose="decoration")  # type: ignore[arg-type]

    def test_training_files_still_go_to_the_provider(self, client: openai.OpenAI) -> None:
        line = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
        made = client.files.create(file=("train.jsonl", line * 12), purpose="fine-tune")
        assert client.files.retrieve(made.id).purpose == "fine-tune"
        assert made.id in [one.id for one in client.files.list(purpose="fine-tune")]
        client.files.delete(made.id)


class TestVectorStores:
    def test_a_store_is_made_changed_listed_and_deleted(self, client: openai.OpenAI) -> None:
        made = client.vector_stores.create(name="a", expires_after={"anchor": "last_active_at", "days": 7})
        assert (made.object, made.name, made.status) == ("vector_store", "a", "completed")
        assert made.expires_at == made.last_active_at + 7 * 86400 if made.last_active_at else False
        changed = client.vector_stores.update(made.id, name="b", metadata={"k": "v"}, expires_after=None)
        assert (changed.name, changed.metadata, changed.expires_after) == ("b", {"k": "v"}, None)
        assert client.vector_stores.retrieve(made.id) == changed
        assert made.id in [one.id for one in client.vector_stores.list()]
        assert client.vector_stores.delete(made.id).deleted
        with pytest.raises(openai.NotFoundError):
            client.vector_stores.retrieve(made.id)

    def test_an_uploaded_file_is_found(self, client: openai.OpenAI, store: VectorStore) -> None:
        inside = client.vector_stores.files.upload_and_poll(vector_store_id=store.id, file=("quokka.md", QUOKKAS))
        assert (inside.status, inside.last_error) == ("completed", None)
        assert inside.usage_bytes > 0
        found = client.vector_stores.search(store.id, query="Where does the quokka live?").data
        assert (found[0].file_id, found[0].filename) == (inside.id, "quokka.md")
        assert "Rottnest" in found[0].content[0].text
        assert 0 < found[0].score <= 1
        content = list(client.vector_stores.files.content(inside.id, vector_store_id=store.id))
        assert "Rottnest" in (content[0].text or "")
        counts = client.vector_stores.retrieve(store.id).file_counts
        assert (counts.completed, counts.total) == (1, 1)

    def test_what_was_taken_out_is_not_found(self, client: openai.OpenAI, store: VectorStore) -> None:
        inside = client.vector_stores.files.upload_and_poll(vector_store_id=store.id, file=("quokka.md", QUOKKAS))
        assert client.vector_stores.files.delete(inside.id, vector_store_id=store.id).deleted
        assert client.vector_stores.search(store.id, query="quokka").data == []
        assert list(client.vector_stores.files.list(store.id)) == []
        again = client.vector_stores.files.create_and_poll(inside.id, vector_store_id=store.id)
        assert again.status == "completed"
        client.files.delete(inside.id)
        assert client.vector_stores.search(store.id, query="quokka").data == []
        assert client.vector_stores.retrieve(store.id).file_counts.total == 0

    def test_a_batch_is_loaded_and_counted(self, client: openai.OpenAI, store: VectorStore) -> None:
        batch = client.vector_stores.file_batches.upload_and_poll(
            store.id, files=[("quokka.md", QUOKKAS), ("refunds.md", REFUNDS)]
        )
        assert (batch.status, batch.file_counts.completed, batch.file_counts.total) == ("completed", 2, 2)
        listed = list(client.vector_stores.file_batches.list_files(batch.id, vector_store_id=store.id, limit=1))
        assert {one.status for one in listed} == {"completed"}
        assert len(listed) == 2
        assert client.vector_stores.file_batches.retrieve(batch.id, vector_store_id=store.id) == batch

    def test_attributes_filter_the_search(self, client: openai.OpenAI, store: VectorStore) -> None:
        old = client.files.create(file=("old.md", REFUNDS), purpose="assistants")
        new = client.files.create(file=("new.md", REFUNDS.replace(b"5", b"3")), purpose="assistants")
        client.vector_stores.file_batches.create_and_poll(
            store.id,
            files=[
                {"file_id": old.id, "attributes": {"year": 2024, "lang": "en"}},
                {"file_id": new.id, "attributes": {"year": 2026, "lang": "en"}},
            ],
        )
        both = client.vector_stores.search(
            store.id, query="refund", filters={"type": "eq", "key": "lang", "value": "en"}
        )
        assert {one.file_id for one in both.data} == {old.id, new.id}
        recent = client.vector_stores.search(
            store.id,
            query="refund",
            filters={
                "type": "and",
                "filters": [
                    {"type": "gte", "key": "year", "value": 2025},
                    {"type": "in", "key": "lang", "value": ["en", "de"]},
                ],
            },
        )
        assert [(one.file_id, one.attributes) for one in recent.data] == [(new.id, {"year": 2026.0, "lang": "en"})]
        changed = client.vector_stores.files.update(new.id, vector_store_id=store.id, attributes={"year": 2020})
        assert changed.attributes == {"year": 2020.0}
        none = client.vector_stores.search(
            store.id, query="refund", filters={"type": "gte", "key": "year", "value": 2025}
        )
        assert none.data == []
        with pytest.raises(openai.BadRequestError, match=r"filters\.filters\[0\]\.type"):
            client.vector_stores.search(
                store.id,
                query="x",
                filters={"type": "or", "filters": [{"type": "near", "key": "a", "value": 1}]},
            )

    def test_a_file_that_cannot_be_read_fails_with_its_reason(self, client: openai.OpenAI, store: VectorStore) -> None:
        inside = client.vector_stores.files.upload_and_poll(
            vector_store_id=store.id, file=("a.exe", b"MZ\x00\x01\xff" * 9)
        )
        assert inside.status == "failed"
        assert inside.last_error
        assert inside.last_error.code == "unsupported_file"
        failed = client.vector_stores.files.list(store.id, filter="failed")
        assert [one.id for one in failed] == [inside.id]

    def test_a_way_to_cut_is_kept_and_used(self, client: openai.OpenAI, store: VectorStore) -> None:
        text = ("The quokka is small. " * 400).encode()
        inside = client.vector_stores.files.upload_and_poll(
            vector_store_id=store.id,
            file=("long.md", text),
            chunking_strategy={
                "type": "static",
                "static": {"max_chunk_size_tokens": 1000, "chunk_overlap_tokens": 100},
            },
        )
        assert inside.chunking_strategy
        assert inside.chunking_strategy.type == "static"
        assert inside.chunking_strategy.static.max_chunk_size_tokens == 1000
        found = client.vector_stores.search(store.id, query="quokka").data
        assert max(len(one.content[0].text) for one in found) > 2500
        with pytest.raises(openai.BadRequestError, match="half"):
            client.vector_stores.files.create(
                store.id,
                file_id=inside.id,
                chunking_strategy={
                    "type": "static",
                    "static": {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 150},
                },
            )

    def test_stores_are_paged_exactly(self, client: openai.OpenAI) -> None:
        ids = [client.vector_stores.create(name=str(n)).id for n in range(3)]
        newest = client.vector_stores.list(limit=2)
        assert [one.id for one in newest.data] == ids[:0:-1]
        assert newest.has_more
        rest = client.vector_stores.list(limit=100, after=newest.data[-1].id)
        assert ids[0] == rest.data[0].id
        back = client.vector_stores.list(limit=1, before=rest.data[0].id)
        assert [one.id for one in back.data] == [ids[1]]
        for one in ids:
            client.vector_stores.delete(one)

    def test_a_collection_of_knowledge_yaml_is_a_vector_store(self, client: openai.OpenAI) -> None:
        found = client.vector_stores.retrieve("help-centre")
        assert found.file_counts.completed > 0
        assert "help-centre" in [one.id for one in client.vector_stores.list()]
        hits = client.vector_stores.search("help-centre", query="How long do refunds take?").data
        assert "refund" in hits[0].content[0].text.lower()
        with pytest.raises(openai.BadRequestError, match=r"knowledge\.yaml"):
            client.vector_stores.delete("help-centre")

    def test_documents_of_a_collection_are_files(self, client: openai.OpenAI) -> None:
        listed = list(client.vector_stores.files.list("help-centre", limit=2))
        assert len(listed) == client.vector_stores.retrieve("help-centre").file_counts.completed
        assert len({one.id for one in listed}) == len(listed)
        one = client.vector_stores.files.retrieve(listed[0].id, vector_store_id="help-centre")
        assert one == listed[0]
        hit = client.vector_stores.search("help-centre", query="How long do refunds take?").data[0]
        content = list(client.vector_stores.files.content(hit.file_id, vector_store_id="help-centre"))
        assert "refund" in (content[0].text or "").lower()
        with pytest.raises(openai.NotFoundError):
            client.vector_stores.files.retrieve("nothing.md", vector_store_id="help-centre")

    def test_a_store_answers_as_a_model(self, gateway: RunningGateway, store: VectorStore) -> None:
        client = gateway.client()
        client.vector_stores.files.upload_and_poll(vector_store_id=store.id, file=("quokka.md", QUOKKAS))
        asked: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Where does the quokka live?"}]
        reply = client.chat.completions.create(model=f"kb/{store.id}", messages=asked)
        assert "Rottnest" in (reply.choices[0].message.content or "")
        for team, model in (("other", f"kb/{store.id}"), ("support", "kb/vs_nothing")):
            with pytest.raises(openai.NotFoundError) as unknown:
                gateway.client(team).chat.completions.create(model=model, messages=asked)
            assert unknown.value.code == "model_not_found"

    def test_a_cancelled_batch_loads_no_more(self, client: openai.OpenAI, store: VectorStore) -> None:
        files = [client.files.create(file=(f"{n}.md", QUOKKAS), purpose="assistants").id for n in range(3)]
        batch = client.vector_stores.file_batches.create(store.id, file_ids=files)
        after = client.vector_stores.file_batches.cancel(batch.id, vector_store_id=store.id)
        assert after.file_counts.in_progress == 0
        assert after.status in {"cancelled", "completed"}
        time.sleep(0.3)  # Whoever was loading it must have noticed by now; what is found is what was completed.
        found = {one.file_id for one in client.vector_stores.search(store.id, query="quokka").data}
        done = {one.id for one in client.vector_stores.files.list(store.id, filter="completed")}
        assert found <= done


class TestOtherTeams:
    def test_another_team_finds_nothing_of_it(self, gateway: RunningGateway, store: VectorStore) -> None:
        mine = gateway.client()
        inside = mine.vector_stores.files.upload_and_poll(vector_store_id=store.id, file=("quokka.md", QUOKKAS))
        other = gateway.client("other")
        for attempt in (
            lambda: other.vector_stores.retrieve(store.id),
            lambda: other.vector_stores.search(store.id, query="quokka"),
            lambda: other.vector_stores.delete(store.id),
            lambda: other.files.retrieve(inside.id),
            lambda: other.files.content(inside.id),
            lambda: other.files.delete(inside.id),
        ):
            with pytest.raises(openai.NotFoundError):
                attempt()
        assert inside.id not in [one.id for one in other.files.list()]
        assert store.id not in [one.id for one in other.vector_stores.list()]
        own = other.vector_stores.create(name="own")
        with pytest.raises(openai.NotFoundError, match=inside.id):
            other.vector_stores.files.create(own.id, file_id=inside.id)
        other.vector_stores.delete(own.id)
