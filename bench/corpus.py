"""Documents and questions for retrieval: made from a seed, or SciFact's when the shared data is there."""

import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gateway.knowledge.chunks import cut
from gateway.knowledge.document import write_document

CHUNKS = 5000
SEED = 20261123
QUESTIONS = 300
WORDS = 20_000


class Corpus(NamedTuple):
    """A JSONL file of documents that make up about CHUNKS chunks, and questions about them."""

    name: str
    path: Path
    documents: int
    chunks: int
    questions: list[str]


def synthetic(folder: Path) -> Corpus:
    """Texts of made-up words, as unevenly frequent as words are; each question borrows from one document."""
    draw = random.Random(SEED)
    words = _words(draw)
    weights = [1 / (place + 3) for place in range(WORDS)]
    documents: list[dict[str, str]] = []
    questions = []
    for number in range(CHUNKS):
        chosen = draw.choices(words, weights, k=110)
        text = ". ".join(" ".join(chosen[start : start + 11]).capitalize() for start in range(0, 110, 11)) + "."
        documents.append({"id": f"doc-{number}", "title": f"Note {number}", "text": text})
        if number < QUESTIONS:
            questions.append("How is " + " ".join(draw.sample(chosen, 8)) + "?")
    return _write("synthetic", folder, iter(documents), questions)


def scifact(data: Path, folder: Path) -> Corpus | None:
    """SciFact's abstracts and claims; None without them."""
    corpus, queries = data / "scifact" / "corpus.jsonl.gz", data / "scifact" / "queries.jsonl"
    if not corpus.exists() or not queries.exists():
        return None
    with gzip.open(corpus, "rt", encoding="utf-8") as lines:
        documents = [
            {"id": found["_id"], "title": found["title"], "text": found["text"]} for found in map(json.loads, lines)
        ]
    questions = [json.loads(line)["text"] for line in queries.read_text(encoding="utf-8").splitlines()]
    return _write("scifact", folder, iter(documents), questions[:QUESTIONS])


def _words(draw: random.Random) -> list[str]:
    syllables = [one + two for one in "bdfgklmnprstvz" for two in "aeiou"]
    made: dict[str, None] = {}
    while len(made) < WORDS:
        made["".join(draw.choices(syllables, k=draw.randint(2, 4)))] = None
    return list(made)


def _write(name: str, folder: Path, documents: Iterator[dict[str, str]], questions: list[str]) -> Corpus:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.jsonl"
    chunks = taken = 0
    with path.open("w", encoding="utf-8") as out:
        for document in documents:
            chunks += len(cut(write_document(document["id"], document["title"], document["text"])))
            taken += 1
            out.write(json.dumps(document) + "\n")
            if chunks >= CHUNKS:
                break
    return Corpus(name, path, taken, chunks, questions)
