"""Codes, and what a file is found guilty of: every fault is counted, and so many of each code are kept."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple, Protocol

from gateway.core.values import Value
from gateway.tuning.datasets.places import Place, column_of
from gateway.tuning.datasets.rows import Row
from gateway.tuning.datasets.targets import Method, Target
from gateway.tuning.token_counts import TokenCounter

Severity = Literal["error", "warning", "info"]


class Code(Value, frozen=True):
    """A stable name of one kind of fault. is_fixable: `gateway datasets fix` may mend it."""

    id: str
    severity: Severity
    summary: str
    is_fixable: bool = False


class Fault(Value, frozen=True):
    """One fault. line, column: from 1, the column in characters; 1:1 for the file as a whole."""

    code: str
    severity: Severity
    line: int
    column: int
    message: str
    is_fixable: bool


class Told:
    """Collects the faults of one run. limit: how many of each code are kept whole; the others are counted."""

    def __init__(self, codes: Mapping[str, Code], target: Target, limit: int | None) -> None:
        self._codes = codes
        self._severities = dict(target.severities)
        self._limit = limit
        self.faults: list[Fault] = []
        self.counts: Counter[str] = Counter()

    def at(self, code: str, line: int, column: int, message: str) -> None:
        """A fault whose column is known."""
        self.counts[code] += 1
        if self._limit is None or self.counts[code] <= self._limit:
            known = self._codes[code]
            self.faults.append(Fault(code, self.severity(code), line, column, message, known.is_fixable))

    def row(self, code: str, row: Row, place: Place, message: str) -> None:
        """A fault at a place within a row's JSON; the column is looked for only when the fault is kept."""
        kept = self._limit is None or self.counts[code] < self._limit
        self.at(code, row.line, column_of(row.text, place) if kept else 1, message)

    def file(self, code: str, message: str) -> None:
        """A fault of the file as a whole."""
        self.at(code, 1, 1, message)

    def severity(self, code: str) -> Severity:
        """The code's severity under this target."""
        return self._severities.get(code, self._codes[code].severity)

    def total(self, severity: Severity) -> int:
        """How many faults of that severity there are, kept or not."""
        return sum(count for code, count in self.counts.items() if self.severity(code) == severity)


class Context(NamedTuple):
    """What a family's checks are started with. validation: rows that must not be trained on, or None for no file."""

    told: Told
    target: Target
    method: Method
    counter: TokenCounter
    validation: Iterable[Row] | None = None


class Checks(Protocol):
    """The checks of one family during one run."""

    def row(self, row: Row) -> None:
        """Looks at one row. Nothing of the row may be held but digests."""
        ...

    def end(self) -> None:
        """Says what only the whole file shows."""
        ...


class Family(NamedTuple):
    """One file of rules. start: None where the reader of lines itself finds these faults."""

    title: str
    codes: tuple[Code, ...]
    start: Callable[[Context], Checks] | None
