"""`datasets lint` on ten thousand rows: how long on one core, and what it holds a row."""

import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.place import ROOT, cores, fresh
from bench.result import Aim, Figure, Options, Result
from gateway.tuning.datasets.lint import lint
from gateway.tuning.datasets.targets import target_of

ROWS = 10_000
SEED = 6
SYSTEM = "You are the support assistant of a shop. Answer in three sentences, and say what happens next."
ASKED = (
    "my parcel has not come yet and the page says it was handed over",
    "the app closes when I open the settings on my phone",
    "I would like to send back the shoes because they are too small",
    "how can I change the address of an order that I placed this morning",
    "the voucher that you sent me is not taken at the end",
    "I was charged twice for the same thing and want one of them back",
)
SAID = (
    "I am sorry to hear that",
    "I have looked at your order and can see what happened",
    "please open the menu, choose your account and press the button below",
    "my colleagues in the warehouse look for it today and write to you",
    "you need not do anything else",
    "the amount is on its way back to the card that you paid with",
    "if it does not work, answer to this message and we try another way",
)


def run(options: Options) -> Result:
    """A process of its own for each turn, so that starting, vocabularies and languages are in the time."""
    folder = fresh("datasets")
    result = Result(["rows", "MB", "tokens", "s of CPU", "s as it passed", "peak MB"], [])
    taken: list[dict[str, float]] = []
    for count in (2_000, ROWS, 5 * ROWS):
        path = folder / f"{count}.jsonl"
        path.write_bytes(b"".join(rows(count)))
        turns = [_measured(path) for _ in range(options.rounds)]
        best = min(turns, key=lambda turn: turn["cpu"])
        taken.append(best | {"rows": count})
        size = path.stat().st_size / 1e6
        cells = (f"{count:,}", f"{size:.1f}", f"{best['tokens']:,.0f}", f"{best['cpu']:.2f}", f"{best['wall']:.2f}")
        result.rows.append([*cells, f"{best['peak_mb']:.0f}"])
    ten = taken[1]
    a_row = (taken[2]["peak_mb"] - taken[0]["peak_mb"]) * 1e6 / (taken[2]["rows"] - taken[0]["rows"])
    result.aims += [
        Aim("10,000 rows linted in under 3 s on one core", f"{ten['cpu']:.2f} s of that core's time", ten["cpu"] < 3),
        Aim("memory flat in file size", f"{a_row:,.0f} bytes a row: digests and a signature, no text", a_row < 1_500),
    ]
    result.notes.append(
        "Every check is on, tokens included; the best of the rounds, each a process of its own that begins with "
        "importing, of one thread: on a core of its own the time that passes is the CPU's. "
        "Some 150 MB of the peak are the vocabulary and the languages' model."
    )
    result.numbers |= {"turns": taken, "bytes_a_row": a_row}
    return result


def rows(count: int) -> Iterator[bytes]:
    """Support rows of some 170 words; a tenth names a price, one in 25 a mail address."""
    chance = random.Random(SEED)
    for number in range(count):
        asked = ". ".join(chance.sample(ASKED, 3)) + f". It is order {chance.randrange(10**8)}."
        said = ". ".join(chance.sample(SAID, 5)) + f". Your case has the number {chance.randrange(10**8)}."
        if number % 10 == 0:
            said += f" It costs ${chance.randrange(90)}.99."
        if number % 25 == 0:
            asked += f" Write to user{number}@mail.test."
        turns = (("system", SYSTEM), ("user", asked), ("assistant", said))
        yield json.dumps({"messages": [{"role": role, "content": text} for role, text in turns]}).encode() + b"\n"


def _measured(path: Path) -> dict[str, float]:
    core = str(cores().server[0])
    command = ["taskset", "-c", core, sys.executable, "-m", "bench.figures.datasets", str(path)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=600)  # our own
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _one(path: Path) -> dict[str, float]:
    begun = time.monotonic()
    with path.open("rb") as lines:
        report = lint(lines, name=path.name, target=target_of("openai", "gpt-4o-mini"))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    cpu, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6
    return {"cpu": cpu, "wall": time.monotonic() - begun, "peak_mb": peak, "tokens": float(report.tokens)}


FIGURE = Figure("`datasets lint` on ten thousand rows", run)

if __name__ == "__main__":
    print(json.dumps(_one(Path(sys.argv[1]))))
