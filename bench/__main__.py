"""`python -m bench [figure ...]`: measures, prints, and writes bench/results.json and bench/README.md."""

import argparse
import datetime as dt
import importlib
import shlex
import sys
import time
import traceback
from pathlib import Path

from bench.machine import code, machine, versions
from bench.place import Unavailable, pin_here
from bench.report import keep, verdict, write_readme
from bench.result import Figure, Options, Result

# The order they run and stand in.
FIGURES = (
    "plain",
    "stream",
    "stream_paced",
    "latency",
    "start",
    "growth",
    "workers",
    "rag",
    "retrieval",
    "freshness",
    "embed",
    "decide",
    "routing",
    "journal",
    "kill9",
    "budget",
    "database_away",
    "commits",
    "writers",
    "ten_million",
    "resilience",
    "datasets",
)


def main() -> int:
    """Runs what was asked for; 1 when a figure failed."""
    arguments = _arguments()
    options = Options(arguments.seconds, arguments.rounds, arguments.data)
    taken = {
        "at": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": shlex.join(["python", "-m", "bench", *sys.argv[1:]]),
        "machine": machine(),
        "versions": "",
    }
    pin_here()
    failed = 0
    for name in arguments.figures or FIGURES:
        figure: Figure = importlib.import_module(f"bench.figures.{name}").FIGURE
        print(f"\n{name}: {figure.title}", flush=True)
        begun = time.monotonic()
        before = code()
        result, bad = _measured(figure, options)
        failed += bad
        # After the figure: it may have installed the rival.
        taken["versions"] = versions()
        _print(result, time.monotonic() - begun)
        if code() != before:
            # Servers of one figure then ran different code; such a run once read as lost bookings.
            print("  not kept: gateway/ was changed while this was measured", flush=True)
            failed += 1
        elif not bad:
            keep(name, figure.title, taken, result)
            write_readme(list(FIGURES))
    return 1 if failed else 0


def _measured(figure: Figure, options: Options) -> tuple[Result, int]:
    try:
        return figure.run(options), 0
    except Unavailable as fault:
        return Result([], [], skipped=str(fault)), 0
    except Exception as fault:  # noqa: BLE001  # one figure's fault must not cost the others
        traceback.print_exc()
        return Result([], [], skipped=f"failed: {type(fault).__name__}"), 1


def _print(result: Result, seconds: float) -> None:
    if result.skipped:
        print(f"  skipped: {result.skipped}")
    table = [list(result.columns), *result.rows] if result.rows else []
    widths = [max(len(row[place]) for row in table) for place in range(len(result.columns))] if table else []
    for row in table:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for aim in result.aims:
        print(f"  {aim.aim}: {aim.got}: {verdict(aim)}")
    print(f"  took {seconds:.0f} s", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("figures", nargs="*", metavar="figure", help=f"from {', '.join(FIGURES)}; none is all")
    parser.add_argument("--seconds", type=float, default=4.0, help="of one turn of load")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each system")
    parser.add_argument("--data", type=Path, help="a folder with scifact/, for the figures `rag` and `retrieval`")
    found = parser.parse_args()
    unknown = [name for name in found.figures if name not in FIGURES]
    if unknown:
        parser.error(f"no figure {', '.join(unknown)}; choose from {', '.join(FIGURES)}")
    return found


if __name__ == "__main__":
    sys.exit(main())
