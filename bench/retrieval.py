"""What `POST /v1/vector_stores/{id}/search` is asked with and judged by: SciFact, MiniLM's vectors, filled stores."""

import asyncio
import gzip
import hashlib
import http.client
import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.minilm import minilm
from bench.place import WORK
from gateway.db.engine import Database
from gateway.db.schema import upgrade
from gateway.knowledge.chunks import cut
from gateway.knowledge.document import write_document
from gateway.knowledge.embedders import Embedded
from gateway.knowledge.embedders.onnx_directory import OnnxEmbedder
from gateway.knowledge.embedders.remembered import Remembered
from gateway.knowledge.library import Library
from gateway.knowledge.settings import CollectionSettings, OnnxSettings, SourceSettings
from gateway.knowledge.stores import Entry, Store
from gateway.knowledge.stores.postgresql import PostgresqlStore
from gateway.knowledge.stores.sqlite import SqliteStore

EMBEDDER = "minilm"
KEPT = WORK / "minilm-vectors.npz"
AT_ONCE = 64
SMALL_DOCUMENTS = 5


class Judged(NamedTuple):
    """A set with judgements. relevant: by question id, the documents that answer it."""

    path: Path
    documents: int
    questions: dict[str, str]
    relevant: dict[str, dict[str, int]]


def judged(data: Path, folder: Path) -> Judged | None:
    """SciFact whole, as a JSONL source; None without it."""
    place = data / "scifact"
    if not (place / "corpus.jsonl.gz").exists():
        return None
    path = folder / "scifact-whole.jsonl"
    count = 0
    with gzip.open(place / "corpus.jsonl.gz", "rt", encoding="utf-8") as lines, path.open("w") as out:
        for line in lines:
            found = json.loads(line)
            out.write(json.dumps({"id": found["_id"], "title": found["title"], "text": found["text"]}) + "\n")
            count += 1
    questions = {
        found["_id"]: found["text"] for found in map(json.loads, (place / "queries.jsonl").read_text().splitlines())
    }
    relevant: dict[str, dict[str, int]] = {}
    for line in (place / "qrels.tsv").read_text().splitlines()[1:]:
        question, document, score = line.split("\t")
        relevant.setdefault(question, {})[document] = int(score)
    return Judged(path, count, questions, relevant)


def ndcg(ranked: Sequence[str], relevant: Mapping[str, int], depth: int = 10) -> float:
    """Normalised discounted cumulative gain of documents, best first, each once."""
    gains = [relevant.get(document, 0) / math.log2(place + 2) for place, document in enumerate(ranked[:depth])]
    ideal = sorted(relevant.values(), reverse=True)[:depth]
    whole = sum(gain / math.log2(place + 2) for place, gain in enumerate(ideal))
    return sum(gains) / whole if whole else 0.0


class Known:
    """The local embedder's vectors from a file, each computed once a machine. It stands in while stores are filled."""

    is_local = True

    def __init__(self) -> None:
        self.settings = OnnxSettings(EMBEDDER, str(minilm()), 256, 2)
        self._embedder = OnnxEmbedder(self.settings)
        self._rows: dict[str, np.ndarray] = {}
        if KEPT.exists():
            with np.load(KEPT) as kept:
                self._rows = dict(zip(kept["keys"].tolist(), kept["rows"], strict=True))

    @property
    def name(self) -> str:
        return self._embedder.name

    async def embed(self, texts: Sequence[str]) -> Embedded:
        keys = [hashlib.sha256(f"{self.name}\0{text}".encode()).hexdigest()[:24] for text in texts]
        fresh = [place for place, key in enumerate(keys) if key not in self._rows]
        if fresh:
            made = await self._embedder.embed([texts[place] for place in fresh])
            self._rows |= {keys[place]: row for place, row in zip(fresh, made.rows, strict=True)}
        return Embedded(np.stack([self._rows[key] for key in keys]), None)

    def keep(self) -> None:
        """Writes down what was computed."""
        np.savez(KEPT, keys=np.array(list(self._rows)), rows=np.stack(list(self._rows.values())))


async def open_store(kind: str, data: Path, url: str) -> Store:
    """An empty store as a gateway over this data folder or database would open it."""
    if kind == "sqlite":
        data.mkdir(parents=True, exist_ok=True)
        return SqliteStore(data / "knowledge.db")
    database = Database(url)
    await upgrade(database)
    await database.close()
    return PostgresqlStore(url)


async def fill(store: Store, collections: Mapping[str, tuple[Path, bool]], known: Known | None) -> dict[str, int]:
    """Loads JSONL files, those that say so with vectors; the chunks of each. Closes the store."""
    settings = [
        CollectionSettings(name, name, (SourceSettings("jsonl", str(path)),), ("*",), EMBEDDER if embedded else None)
        for name, (path, embedded) in collections.items()
    ]
    library = Library(store, settings, {EMBEDDER: Remembered(known)} if known is not None else {})
    report = await library.sync()
    if report.faults:
        raise RuntimeError(report.faults[0])
    chunks = {one.name: one.chunks for one in await library.status()}
    await library.close()
    return chunks


async def crowd(store: Store, first: int, last: int) -> None:
    """Small collections of the same words beside the measured one, numbered from `first` up to `last`."""
    for number in range(first, last):
        made = [
            write_document(f"{number}-{n}", f"Note {n}", f"A note on cells, patients and growth, number {number}-{n}.")
            for n in range(SMALL_DOCUMENTS)
        ]
        await store.put(f"crowd-{number}", "s", [Entry(one, cut(one)) for one in made])


class Asker:
    """One connection that asks one collection after the other's answer, as a single caller would."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        host = url.removeprefix("http://").partition("/")[0]
        self._connection = http.client.HTTPConnection(host, timeout=60)
        self._headers = {"content-type": "application/json", **headers}

    def ask(self, collection: str, question: str, count: int = 8, **more: object) -> tuple[list[str], float]:
        """The documents found, best first and each once, and the seconds it took. Raises RuntimeError unless 200."""
        body = json.dumps({"query": question, "max_num_results": count, **more})
        begun = time.perf_counter()
        self._connection.request("POST", f"/v1/vector_stores/{collection}/search", body, self._headers)
        reply = self._connection.getresponse()
        data = reply.read()
        seconds = time.perf_counter() - begun
        if reply.status != 200:
            raise RuntimeError(f"{reply.status}: {data[:300]!r}")
        return list(dict.fromkeys(found["file_id"] for found in json.loads(data)["data"])), seconds

    def quality(self, collection: str, judged: Judged, **more: object) -> float:
        """The mean nDCG@10 over all questions."""
        found = [
            ndcg(self.ask(collection, text, 30, **more)[0], judged.relevant[question])
            for question, text in judged.questions.items()
        ]
        return sum(found) / len(found)

    def close(self) -> None:
        self._connection.close()


async def _embed_ahead(data: Path, folder: Path) -> None:
    """Computes SciFact's vectors and keeps them, so that a run need not."""
    found = judged(data, folder)
    known = Known()
    if found is None:
        return
    texts = []
    for line in found.path.read_text().splitlines():
        one = json.loads(line)
        document = write_document(one["id"], one["title"], one["text"])
        texts += [f"{chunk.path}\n{chunk.text}" for chunk in cut(document)]
    for start in range(0, len(texts), AT_ONCE):
        await known.embed(texts[start : start + AT_ONCE])
    known.keep()


def embed_ahead(data: Path, folder: Path) -> None:
    """See `_embed_ahead`."""
    asyncio.run(_embed_ahead(data, folder))
