"""What retrieval costs over a plain call, at about 5,000 chunks, by words alone."""

import asyncio
import json
import shutil
import time
from contextlib import ExitStack
from pathlib import Path

from bench.bodies import plain_request
from bench.client import share
from bench.corpus import Corpus, scifact, synthetic
from bench.field import switchyard, upstreams
from bench.load import Target, in_turns
from bench.nginx import Nginx
from bench.place import cores, fresh
from bench.result import Aim, Figure, Options, Result, ms, us
from gateway.knowledge.library import Library
from gateway.knowledge.settings import CollectionSettings, SourceSettings
from gateway.knowledge.stores.sqlite import SqliteStore

SEARCHES = 300
MOST_MS = 3.0
COLUMNS = ["documents", "chunks", "plain us", "RAG us", "over plain ms", "search p50 ms", "search p95 ms", "ready s"]


def run(options: Options) -> Result:
    """A gateway for each corpus: plain calls and `kb/` calls in turn, then searches one by one in this process."""
    folder = fresh("rag")
    corpora = [synthetic(folder)]
    real = scifact(options.data, folder) if options.data is not None else None
    corpora += [real] if real is not None else []
    result = Result(["corpus", *COLUMNS], [])
    with ExitStack() as stack:
        urls = upstreams(stack.enter_context(Nginx("rag-upstream", cores().load)))
        for corpus in corpora:
            _one(result, corpus, urls, folder, options)
    if real is None:
        result.notes.append("SciFact was left out: `make bench DATA=folder` names the folder that has `scifact/`.")
    result.notes.append(
        f"{SEARCHES} questions in turn; eight hits, at most 2,000 tokens of sources put into the prompt. "
        "The search's own times are of Library.search, one after the other, in a process of its own on the load's core."
    )
    return result


def _one(result: Result, corpus: Corpus, urls: dict[str, str], folder: Path, options: Options) -> None:
    with ExitStack() as stack:
        ours = switchyard(stack, f"rag-{corpus.name}", urls, collections={corpus.name: corpus.path})
        url = ours.url + "/chat/completions"
        targets = [Target(name, ours.process, url, ours.headers) for name in ("plain", "rag")]
        asked = [_request(corpus.name, question) for question in corpus.questions]
        plain, rag = in_turns(
            targets, {"plain": [plain_request()], "rag": asked}, options.seconds, options.rounds, folder
        )
        copy = folder / f"{corpus.name}.db"
        for suffix in ("", "-wal"):
            source = ours.data / f"knowledge.db{suffix}"
            if source.exists():
                shutil.copy(source, f"{copy}{suffix}")
        seconds = asyncio.run(_search(copy, corpus))
        ready = ours.ready_seconds
    over = (rag.cpu_us - plain.cpu_us) / 1000
    p50, p95 = share(seconds, 0.5) * 1000, share(seconds, 0.95) * 1000
    cells = [
        f"{corpus.documents:,}",
        f"{corpus.chunks:,}",
        us(plain.cpu_us),
        us(rag.cpu_us),
        ms(over),
        ms(p50),
        ms(p95),
    ]
    result.rows.append([corpus.name, *cells, f"{ready:.1f}"])
    aim = f"RAG call at 5,000 chunks, lexical ({corpus.name}): <= 3 ms CPU over the plain call"
    result.aims.append(Aim(aim, f"{over:.2f} ms", over <= MOST_MS))
    result.numbers[corpus.name] = {"over_plain_ms": over, "search_p50_ms": p50, "search_p95_ms": p95, "ready_s": ready}


def _request(collection: str, question: str) -> bytes:
    return json.dumps({"model": f"kb/{collection}", "messages": [{"role": "user", "content": question}]}).encode()


async def _search(database: Path, corpus: Corpus) -> list[float]:
    source = SourceSettings("jsonl", str(corpus.path))
    settings = CollectionSettings(corpus.name, corpus.name, (source,), ("*",))
    library = Library(SqliteStore(database), [settings], {})
    taken = []
    try:
        for place in range(SEARCHES + 5):
            begun = time.perf_counter()
            signal = await library.search(corpus.questions[place % len(corpus.questions)], [corpus.name], "bench")
            taken.append(time.perf_counter() - begun)
            if not signal.hits and place > 20 and len(taken) == place + 1 and corpus.name == "synthetic":
                raise RuntimeError("the search found nothing: the figure would mean nothing")
    finally:
        await library.close()
    return taken[5:]


FIGURE = Figure("RAG call at about 5,000 chunks, by words", run)
