"""What a figure gives: a table, the aims it stands beside, and what must be known to read it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


@dataclass(frozen=True)
class Aim:
    """One row of hot-path.md's aims, and what was got. met: None when this machine cannot tell."""

    aim: str
    got: str
    met: bool | None
    why: str = ""


@dataclass
class Result:
    """A figure. rows: cells as shown. numbers: the same to compute with, for results.json."""

    columns: Sequence[str]
    rows: list[list[str]]
    aims: list[Aim] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    numbers: dict[str, object] = field(default_factory=dict)
    skipped: str = ""


class Options(NamedTuple):
    """How long to measure. seconds: of one turn; rounds: turns of each target; data: shared data, if any."""

    seconds: float = 4.0
    rounds: int = 3
    data: Path | None = None


class Figure(NamedTuple):
    """A figure and how it is measured. run: raises place.Unavailable when something it needs is missing."""

    title: str
    run: Callable[[Options], Result]


def us(value: float) -> str:
    """Microseconds as shown."""
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def ms(value: float) -> str:
    """Milliseconds as shown."""
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def times(value: float) -> str:
    """A ratio as shown."""
    return f"{value:.2f} x" if value < 10 else f"{value:,.0f} x"
