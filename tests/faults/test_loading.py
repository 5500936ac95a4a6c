"""Files on their way into a vector store outlive a `kill -9`; another worker finds them at once."""

import asyncio
import random
from pathlib import Path

import httpx2

from tests.fakes.offline_server import OfflineServer
from tests.fakes.running_gateway import A_SECOND, running_gateway, until

FILES = 60
DELETED = 120


def text(number: int) -> bytes:
    return f"# Species {number}\n\n{'The quokka eats leaves. ' * 300}\n\nIts number is wombat{number}.\n".encode()


def test_a_batch_cut_off_by_a_kill_is_loaded_whole_and_once(tmp_path: Path, upstream: OfflineServer) -> None:
    with running_gateway(tmp_path, upstream.base_url) as gateway:
        client = gateway.client()
        store = client.vector_stores.create(name="species")
        ids = [client.files.create(file=(f"{n}.md", text(n)), purpose="assistants").id for n in range(FILES)]
        batch = client.vector_stores.file_batches.create(store.id, file_ids=ids)
        gateway.kill()
        gateway.start()
        client = gateway.client()
        cut_off = client.vector_stores.file_batches.retrieve(batch.id, vector_store_id=store.id)
        assert cut_off.file_counts.total == FILES

        def loaded() -> bool:
            counts = client.vector_stores.file_batches.retrieve(batch.id, vector_store_id=store.id).file_counts
            return counts.completed == FILES

        until(loaded, 40.0, what="the whole batch")
        for number in (0, FILES // 2, FILES - 1):
            hits = client.vector_stores.search(store.id, query=f"wombat{number}").data
            assert [hit.filename for hit in hits] == [f"{number}.md"]
        assert client.vector_stores.retrieve(store.id).file_counts.completed == FILES


def test_what_one_worker_loads_and_takes_out_the_other_one_knows(tmp_path: Path, upstream: OfflineServer) -> None:
    with running_gateway(tmp_path, upstream.base_url, workers=2) as gateway:
        key = gateway.key()

        def knows_key() -> bool:
            # A fresh connection each time: the kernel deals them out among the workers.
            headers = {"authorization": f"Bearer {key}"}
            return all(httpx2.get(f"{gateway.base_url}/models", headers=headers).is_success for _ in range(12))

        until(knows_key, A_SECOND, what="the key on every worker")
        client = gateway.client()
        store = client.vector_stores.create(name="species")
        inside = client.vector_stores.files.upload_and_poll(vector_store_id=store.id, file=("1.md", text(1)))

        def everywhere(found: int) -> bool:
            url, headers = f"{gateway.base_url}/vector_stores/{store.id}/search", {"authorization": f"Bearer {key}"}
            replies = [httpx2.post(url, json={"query": "wombat1"}, headers=headers).json() for _ in range(12)]
            counts = [len(reply["data"]) for reply in replies]
            return all(bool(count) == bool(found) for count in counts)

        until(lambda: everywhere(1), A_SECOND, what="the file on every worker")
        client.vector_stores.files.delete(inside.id, vector_store_id=store.id)
        assert everywhere(0)


async def test_what_is_deleted_while_it_is_loaded_is_found_by_nobody(tmp_path: Path, upstream: OfflineServer) -> None:
    """From the store and as a file, at every moment of its loading: a few of a hundred stayed for ever once."""
    with running_gateway(tmp_path, upstream.base_url) as gateway:
        async with gateway.async_client(timeout=60) as client:
            store = (await client.vector_stores.create(name="gone")).id
            left: list[str] = []

            async def one(number: int) -> None:
                word = f"wombat{number}x"
                file = await client.files.create(file=(f"{number}.md", word.encode()), purpose="assistants")
                await client.vector_stores.files.create(store, file_id=file.id)
                await asyncio.sleep(random.random() * 0.03)
                if number % 2:
                    await client.files.delete(file.id)
                else:
                    await client.vector_stores.files.delete(file.id, vector_store_id=store)
                if (await client.vector_stores.search(store, query=word)).data:
                    left.append(word)

            for start in range(0, DELETED, 10):
                await asyncio.gather(*(one(number) for number in range(start, start + 10)))
            assert left == []
            assert (await client.vector_stores.search(store, query="wombat")).data == []
            assert (await client.vector_stores.retrieve(store)).file_counts.total == 0
