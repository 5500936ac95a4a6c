"""A gateway killed under load, and its books held against the upstream's bill. Nothing here knows of a figure."""

import contextlib
import json
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.place import free_port
from bench.process import Process, clean_environment


class Row(NamedTuple):
    """One request on the upstream's bill. attempt: the gateway's own id of it."""

    attempt: str
    tokens_in: int
    tokens_out: int
    outcome: str


class Audit(NamedTuple):
    """Bill against books. wrong_tokens: rows that say the provider's usage and differ from the bill.

    estimated: calls that were cut off by the kill; their rows say `estimated` and may differ.
    unbilled: rows of attempts that the upstream never counted (killed before it did).
    """

    billed: int
    booked: int
    missing: int
    twice: int
    wrong_tokens: int
    estimated: int
    unbilled: int


def offline_upstream(bill: Path, on: Sequence[int], log: Path) -> tuple[Process, str]:
    """The bundled upstream with a bill, and its base URL. The caller ends the process."""
    port = free_port()
    command = [sys.executable, "-m", "gateway", "upstream", "offline", "--port", str(port), "--bill", str(bill)]
    process = Process(command, on, log, clean_environment())
    try:
        process.wait_listening(port)
    except BaseException:
        process.stop()
        raise
    return process, f"http://127.0.0.1:{port}/v1"


def read_bill(path: Path) -> list[Row]:
    """The bill's rows; a torn last line is not yet one."""
    rows = []
    for line in path.read_text().splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            found = json.loads(line)
            rows.append(Row(found["attempt"], found["prompt_tokens"], found["completion_tokens"], found["outcome"]))
    return rows


BOOKED = "SELECT id, input_tokens, output_tokens, usage_source FROM usage_events WHERE attempt > 0"


def sqlite_rows(database: Path) -> list[Sequence[Any]]:
    """The rows of a SQLite file, read past the gateway."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return list(connection.execute(BOOKED))


def audit(bill: Sequence[Row], found: Sequence[Sequence[Any]]) -> Audit:
    """Every billed request looked up among the rows of BOOKED by the id that the gateway sent with it."""
    books = {row[0]: row[1:] for row in found}
    missing = wrong = 0
    for row in bill:
        booked = books.get(row.attempt)
        if booked is None:
            missing += 1
        elif booked[2] == "provider" and (booked[0], booked[1]) != (row.tokens_in, row.tokens_out):
            wrong += 1
    billed = {row.attempt for row in bill}
    return Audit(
        billed=len(bill),
        booked=len(books),
        missing=missing,
        twice=(len(found) - len(books)) + (len(bill) - len(billed)),
        wrong_tokens=wrong,
        estimated=sum(1 for row in found if row[3] == "estimated"),
        unbilled=sum(1 for name in books if name not in billed),
    )
