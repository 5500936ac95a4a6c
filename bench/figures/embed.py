"""What a question costs that is embedded in this process, by all-MiniLM-L6-v2 in 8 bits."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import cycle, islice

from bench.client import share
from bench.minilm import COSINES, cosines, minilm
from bench.place import ROOT
from bench.result import Figure, Options, Result, ms
from gateway.knowledge.embedders.onnx_directory import OnnxEmbedder
from gateway.knowledge.embedders.remembered import Remembered
from gateway.knowledge.settings import OnnxSettings

WORDS = (10, 30, 120)
TIMES = 100
WARM = 5
TEXT = (
    "Our annual plan renews next week and the finance team would like to know what happens to the refund when we "
    "leave before the second invoice is due because three of our offices are moving to another country this year"
)
# In a process of its own: this one has loaded the libraries to make the model.
LOADING = """
import sys, time
import gateway.live
from gateway.knowledge.embedders.onnx_directory import OnnxEmbedder
from gateway.knowledge.settings import OnnxSettings
resident = lambda: int(open("/proc/self/statm").read().split()[1]) * 4096 / 1024**2
before, begun = resident(), time.perf_counter()
OnnxEmbedder(OnnxSettings("minilm", sys.argv[1]))
print(time.perf_counter() - begun, resident() - before)
"""


def run(options: Options) -> Result:
    """Questions one after the other through the event loop, as a search asks; then the same once more."""
    del options
    folder = minilm()
    command = [sys.executable, "-c", LOADING, str(folder)]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    loaded, grown = map(float, told)
    embedder = OnnxEmbedder(OnnxSettings("minilm", str(folder)))
    result = Result(["words", "tokens", "p50 ms", "p95 ms", "CPU ms", "timer late p99 ms", "asked again us"], [])
    for words in WORDS:
        asyncio.run(_one(result, embedder, words))
    found = ", ".join(f"{got:.3f} ({card:.3f})" for got, card in zip(cosines(folder), COSINES, strict=True))
    result.notes.append(
        f"{TIMES} different questions of each length, one thread; `timer late`: by how much a 1 ms timer "
        f"in the same event loop missed its time. Loading took {loaded:.2f} s and {grown:.0f} MB with the libraries. "
        f"Cosines of the model card's sentences, and the card's own: {found}."
    )
    result.numbers |= {"load_s": loaded, "load_mb": grown}
    return result


async def _one(result: Result, embedder: OnnxEmbedder, words: int) -> None:
    remembered = Remembered(embedder)
    questions = [
        " ".join(islice(cycle(TEXT.split()), place, place + words - 1)) + f" {place}" for place in range(TIMES + WARM)
    ]
    tokens: list[int | None] = []
    for question in questions[:WARM]:
        await remembered.question(question, tokens.append)
    late: list[float] = []
    watch = asyncio.create_task(_watch(late))
    cpu = time.process_time()
    taken = await _timed(remembered, questions[WARM:], tokens)
    cpu = (time.process_time() - cpu) / TIMES * 1000
    watch.cancel()
    again = await _timed(remembered, questions[WARM:], tokens)
    p50, p95, lag = share(taken, 0.5) * 1000, share(taken, 0.95) * 1000, share(late, 0.99) * 1000
    kept = share(again, 0.5) * 1e6
    read = round(sum(count or 0 for count in tokens) / len(questions))
    result.rows.append([str(words), str(read), ms(p50), ms(p95), ms(cpu), ms(lag), f"{kept:.0f}"])
    result.numbers[str(words)] = {"tokens": read, "p50_ms": p50, "p95_ms": p95, "cpu_ms": cpu, "kept_us": kept}


async def _timed(remembered: Remembered, questions: Sequence[str], tokens: list[int | None]) -> list[float]:
    taken = []
    for question in questions:
        begun = time.perf_counter()
        await remembered.question(question, tokens.append)
        taken.append(time.perf_counter() - begun)
    return taken


async def _watch(late: list[float]) -> None:
    while True:
        begun = time.perf_counter()
        await asyncio.sleep(0.001)
        late.append(time.perf_counter() - begun - 0.001)


FIGURE = Figure("A question embedded in the gateway's own process (all-MiniLM-L6-v2, 8 bits, one thread)", run)
