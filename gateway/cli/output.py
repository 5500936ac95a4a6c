"""What commands print: a table for people, JSON for programs."""

import sys
from collections.abc import Sequence
from typing import Any

import msgspec


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2)
    sys.stdout.write(text.decode() + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], right: frozenset[str] = frozenset()) -> None:
    """A plain table. right: columns of numbers."""
    from rich.console import Console
    from rich.table import Table

    # Cells are data: `[...]` is no markup and `:b:` in a tuned model's id is no emoji.
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", no_wrap=True)
    for row in rows:
        table.add_row(*("-" if cell is None else str(cell) for cell in row))
    # A pipe has no width; cutting its columns would lose data.
    width = None if sys.stdout.isatty() else 10_000
    console = Console(width=width, markup=False, emoji=False, highlight=False)
    console.print(table, soft_wrap=not sys.stdout.isatty())


def say(line: str) -> None:
    """A line for people."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
