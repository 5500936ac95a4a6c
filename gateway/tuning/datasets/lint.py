"""What is wrong with a training file: every fault, in one pass, in memory that does not grow with its rows' length."""

import codecs
import hashlib
from collections.abc import Iterable, Iterator, Sequence

from gateway.core.values import Value
from gateway.tuning.datasets.digests import canonical
from gateway.tuning.datasets.faults import Checks, Context, Fault, Told
from gateway.tuning.datasets.jsonl import Line, read_lines
from gateway.tuning.datasets.registry import CODES, FAMILIES
from gateway.tuning.datasets.rows import Row, is_object, read_row
from gateway.tuning.datasets.targets import Method, Target
from gateway.tuning.token_counts import TokenCounter

# Of each code so many faults are kept whole, unless a caller asks for all: a file can be wrong in every row.
MOST_OF_A_CODE = 1_000

# One check over some rows before the next: each brings tables of its own into the processor's cache.
BATCH = 64
# Rows with images are megabytes each.
MOST_HELD = 2**20


class Report(Value, frozen=True):
    """What a file was found to be. faults: in the order of lines; those of the whole file stand at 1:1.

    counts: how many of each code there are, kept among faults or not. tokens: of all rows, by the base's tokenizer
    or (is_estimate) by one that is near it. trained_tokens: of the answers that weigh. dataset_hash: `ds-` and 16
    hex digits of the rows' canonical form; line ends, spaces and the order of keys do not change it.
    """

    name: str
    target: str
    rows: int
    tokens: int
    trained_tokens: int
    is_estimate: bool
    dataset_hash: str
    errors: int
    warnings: int
    faults: tuple[Fault, ...]
    counts: tuple[tuple[str, int], ...]


def lint(
    lines: Iterable[bytes],
    *,
    name: str,
    target: Target,
    method: Method = "supervised",
    validation: Iterable[bytes] | None = None,
    limit: int | None = MOST_OF_A_CODE,
) -> Report:
    """Reads the file once, and `validation` before it. Raises nothing for what a file may hold.

    limit: how many faults of each code are kept whole; None keeps all.
    """
    told = Told(CODES, target, limit)
    counter = TokenCounter(target.base)
    held = None if validation is None else _validation_rows(validation)
    context = Context(told, target, method, counter, held)
    checks = [family.start(context) for family in FAMILIES if family.start is not None]
    file = _File(told, target)
    rows = size = 0
    batch: list[Row] = []
    hashed = hashlib.sha256()
    for line in read_lines(file.watched(lines)):
        file.say(line)
        if line.is_blank:
            continue
        hashed.update((line.raw if line.data is None else canonical(line.data)) + b"\n")
        if not is_object(line.data):
            continue
        rows += 1
        batch.append(read_row(line.number, line.text, line.data))
        size += len(line.raw)
        if len(batch) == BATCH or size > MOST_HELD:
            _look(checks, batch)
            size = 0
    _look(checks, batch)
    for check in checks:
        check.end()
    file.end()
    return Report(
        name,
        target.name,
        rows,
        counter.total,
        counter.trained,
        counter.vocabulary.is_estimate,
        f"ds-{hashed.hexdigest()[:16]}",
        told.total("error"),
        told.total("warning"),
        tuple(sorted(told.faults, key=_place)),
        tuple(sorted(told.counts.items())),
    )


def _look(checks: Sequence[Checks], batch: list[Row]) -> None:
    for check in checks:
        for row in batch:
            check.row(row)
    batch.clear()


class _File:
    """What is said of lines and bytes, before anybody looks at rows."""

    def __init__(self, told: Told, target: Target) -> None:
        self._told, self._target = told, target
        self._bytes = 0
        self._has_bom = False

    def watched(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        for number, line in enumerate(lines):
            self._bytes += len(line)
            if not number:
                self._has_bom = line.startswith(codecs.BOM_UTF8)
            yield line

    def say(self, line: Line) -> None:
        for fault in line.faults:
            if fault.code == "F010" and self._target.wants_bom:
                continue
            self._told.at(fault.code, line.number, fault.column, fault.message)

    def end(self) -> None:
        most = self._target.most_bytes
        if most is not None and self._bytes > most:
            told = f"{self._bytes:,} bytes; {self._target.name} takes {most:,}"
            self._told.file("F003", f"{told} (parts of an upload may together be up to 8 GB)")
        if self._target.wants_bom and self._bytes and not self._has_bom:
            self._told.file("F015", "no byte-order mark begins the file; Azure's guide asks for one")


def _validation_rows(lines: Iterable[bytes]) -> Iterator[Row]:
    for line in read_lines(lines):
        if is_object(line.data):
            yield read_row(line.number, line.text, line.data)


def _place(fault: Fault) -> tuple[int, int, str]:
    return fault.line, fault.column, fault.code
