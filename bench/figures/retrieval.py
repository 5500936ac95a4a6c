"""What `POST /v1/vector_stores/{id}/search` finds and takes on both stores; loading 100,000 documents."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench.client import share
from bench.corpus import scifact
from bench.place import ROOT, Unavailable, cores, fresh
from bench.policies import write_policies
from bench.postgres import postgres
from bench.process import clean_environment
from bench.result import Aim, Figure, Options, Result, ms
from bench.retrieval import EMBEDDER, Asker, Judged, Known, crowd, fill, judged, open_store
from bench.switchyard import Switchyard
from tests.fakes.postgres import Postgres

STORES = ("sqlite", "postgresql")
FEW, MANY = 10, 1_000
LEAST_WORDS, LEAST_BOTH = 0.675, 0.70
MOST_MS, MOST_EMBEDDED_MS = 15.0, 30.0
LOADED = (10_000, 100_000)
WORDS = [
    "the",
    "refund",
    "of",
    "an",
    "order",
    "is",
    "paid",
    "to",
    "the",
    "card",
    "within",
    "some",
    "working",
    "days",
    "after",
    "the",
    "parcel",
    "came",
    "back",
    "to",
    "us",
]
COLUMNS = [
    "store",
    "nDCG@10 words",
    "nDCG@10 both",
    "both, by rank",
    "words p50 ms",
    "p95",
    "both p50 ms",
    "p95",
    "both, known question p50 ms",
    "p95",
    f"words p50 ms among {FEW} collections",
    f"among {MANY:,}",
    "load 100,000 s",
    "peak MB at 10,000",
    "at 100,000",
]


def run(options: Options) -> Result:
    """A gateway over each store: SciFact whole for what is found, 5,000 chunks of it for what that takes."""
    folder = fresh("retrieval")
    whole = judged(options.data, folder) if options.data is not None else None
    five = scifact(options.data, folder) if options.data is not None else None
    if whole is None or five is None or options.data is None:
        raise Unavailable("SciFact is not here: `--data folder` names the folder that has `scifact/`")
    known: Known | None = None
    result = Result(COLUMNS, [])
    try:
        known = Known()
    except Unavailable as fault:
        result.notes.append(f"By words alone: {fault}.")
    with postgres() as server:
        for kind in STORES:
            _one(result, kind, folder / kind, server, whole, (five.path, five.questions), known)
    result.notes.append(
        f"{whole.documents:,} abstracts and {len(whole.questions)} claims for what is found; {five.chunks:,} chunks of "
        "them for the times, of single calls over one connection, each of 300 questions once, the postings of their "
        "words not yet in memory; `both` embeds the question in the gateway (MiniLM, 8 bits), `known question` is the "
        "same asked again. Loading is `gateway knowledge sync` by words, of short documents. PostgreSQL ran on "
        "the same machine, over a socket. Other work ran on this machine meanwhile."
    )
    return result


def _one(
    result: Result,
    kind: str,
    folder: Path,
    server: Postgres,
    whole: Judged,
    five: tuple[Path, list[str]],
    known: Known | None,
) -> None:
    url = server.fresh() if kind == "postgresql" else ""
    path, questions = five
    collections = {"words": (whole.path, False), "five-words": (path, False)}
    if known is not None:
        collections |= {"both": (whole.path, True), "five": (path, True)}

    async def filled() -> None:
        await fill(await open_store(kind, folder / "data", url), collections, known)
        if known is not None:
            known.keep()

    async def crowded(first: int, last: int) -> None:
        store = await open_store(kind, folder / "data", url)
        await crowd(store, first, last)
        await store.close()

    asyncio.run(filled())
    asyncio.run(crowded(len(collections), FEW))
    numbers: dict[str, float] = {}
    with _gateway(folder, url, collections, known) as ours:
        few = _times(ours, "five-words", questions)
        quality = [ours.quality("words", whole)]
        both, again = [float("nan")], [float("nan")]
        if known is not None:
            quality += [ours.quality("both", whole), ours.quality("both", whole, ranking_options=BY_RANK)]
            both, again = _times(ours, "five", questions), _times(ours, "five", questions)
    asyncio.run(crowded(FEW, MANY))
    with _gateway(folder, url, collections, known) as ours:
        many = _times(ours, "five-words", questions)
    loads = [_load(folder / f"load-{count}", count, server.fresh() if url else "") for count in LOADED]
    found = [f"{one:.3f}" for one in quality] + ["-"] * (3 - len(quality))
    times = [ms(share(some, part) * 1000) for some in (few, both, again) for part in (0.5, 0.95)]
    flat = [ms(share(some, 0.5) * 1000) for some in (few, many)]
    seconds, _ = loads[-1]
    result.rows.append([kind, *found, *times, *flat, f"{seconds:.0f}", *(f"{peak:.0f}" for _, peak in loads)])
    p95 = {name: share(some, 0.95) * 1000 for name, some in (("words", few), ("both", both), ("again", again))}
    _aims(result, kind, quality, p95)
    numbers |= {f"ndcg_{place}": value for place, value in enumerate(quality)} | p95
    numbers |= {"few_p50_ms": share(few, 0.5) * 1000, "many_p50_ms": share(many, 0.5) * 1000, "load_s": seconds}
    result.numbers[kind] = numbers


BY_RANK = {"hybrid_search": {"embedding_weight": 1, "text_weight": 1}}


def _aims(result: Result, kind: str, quality: list[float], p95: Mapping[str, float]) -> None:
    aim = f"SciFact nDCG@10 by words ({kind}): >= {LEAST_WORDS}"
    result.aims.append(Aim(aim, f"{quality[0]:.3f}", quality[0] >= LEAST_WORDS))
    if len(quality) == 1:
        return
    aim = f"SciFact nDCG@10 with MiniLM ({kind}): >= {LEAST_BOTH:.2f}"
    result.aims.append(Aim(aim, f"{quality[1]:.3f}", quality[1] >= LEAST_BOTH))
    slowest = max(p95["words"], p95["again"])
    aim = f"search p95 at 5,000 chunks without embedding the question ({kind}): <= {MOST_MS:.0f} ms"
    result.aims.append(Aim(aim, f"{slowest:.1f} ms", slowest <= MOST_MS))
    aim = f"search p95 at 5,000 chunks with embedding ({kind}): <= {MOST_EMBEDDED_MS:.0f} ms"
    result.aims.append(Aim(aim, f"{p95['both']:.1f} ms", p95["both"] <= MOST_EMBEDDED_MS))


@contextmanager
def _gateway(
    folder: Path, url: str, collections: Mapping[str, tuple[Path, bool]], known: Known | None
) -> Iterator[Asker]:
    """A gateway over the filled store; what it has to load is loaded already."""
    upstreams = dict.fromkeys(("plain", "stream"), "http://127.0.0.1:9/v1")
    paths = {name: path for name, (path, _) in collections.items()}
    policies = write_policies(folder / "policies", upstreams, rule_count=1, collections=paths)
    knowledge = json.loads((policies / "knowledge.yaml").read_text())
    if known is not None:
        settings = known.settings
        knowledge["embedders"] = {EMBEDDER: {"kind": "onnx", "path": settings.path, "threads": settings.threads}}
        for name, (_, is_embedded) in collections.items():
            if is_embedded:
                knowledge["collections"][name]["embedder"] = EMBEDDER
    (policies / "knowledge.yaml").write_text(json.dumps(knowledge))
    with Switchyard(folder, policies, cores().server, database_url=url, key=_KEYS.get(folder, "")) as ours:
        _KEYS[folder] = ours.key
        asker = Asker(ours.url, ours.headers)
        try:
            yield asker
        finally:
            asker.close()


# The key of a folder's first gateway serves its second too.
_KEYS: dict[Path, str] = {}


def _times(ours: Asker, collection: str, questions: list[str]) -> list[float]:
    ours.ask(collection, "opens the connection")
    return [ours.ask(collection, question)[1] for question in questions]


def _load(folder: Path, count: int, url: str) -> tuple[float, float]:
    """The seconds and the peak megabytes of `gateway knowledge sync` over so many documents."""
    folder.mkdir(parents=True)
    path = folder / "many.jsonl"
    with path.open("w") as out:
        for n in range(count):
            words = " ".join(WORDS[(n + place * (1 + n % 5)) % len(WORDS)] for place in range(60))
            out.write(json.dumps({"id": f"d{n}", "title": f"Item {n}", "text": f"{words} no{n}"}) + "\n")
    upstreams = dict.fromkeys(("plain", "stream"), "http://127.0.0.1:9/v1")
    policies = write_policies(folder / "policies", upstreams, rule_count=1, collections={"many": path})
    environment = clean_environment() | {"GATEWAY_DATA": str(folder / "data"), "GATEWAY_POLICIES": str(policies)}
    environment["BENCH_UPSTREAM_KEY"] = "unused"
    if url:
        environment["GATEWAY_DATABASE_URL"] = url
    begun = time.perf_counter()
    command = [sys.executable, "-m", "gateway", "knowledge", "sync", "--json"]
    with (folder / "out").open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - begun
    told = (folder / "out").read_text()
    if process.returncode != 0 or json.loads(told)["added"] != count:
        raise RuntimeError(f"loading {count} documents: {told[-500:]}")
    return seconds, used.ru_maxrss / 1024


FIGURE = Figure("What a search finds and takes, through HTTP; loading", run)
