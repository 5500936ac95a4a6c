"""What of a training file can be mended without guessing. Mending what is mended changes nothing."""

from collections import Counter
from collections.abc import Iterable, Iterator

from gateway.core.errors import UnreadableDocument
from gateway.core.values import Value
from gateway.tuning.datasets.digests import canonical, digest
from gateway.tuning.datasets.jsonl import Line, read_lines
from gateway.tuning.datasets.mended_rows import mended, written
from gateway.tuning.datasets.rows import is_object
from gateway.tuning.datasets.targets import Method, Target

# Faults of a line's form that go away with writing the row anew.
REWRITTEN = frozenset({"F007", "R004", "R005", "R026"})

# What these say is of the whole file: its other lines are no rows.
WHOLE = frozenset({"F012", "F013"})


class Mended(Value, frozen=True):
    """A row as it should be. before: its value as it was read, None for a line that is kept as it stands."""

    line: bytes
    before: object = None
    after: object = None


class Fixing:
    """Mends one file. changes: how many rows or lines each code changed, once the lines have been read."""

    def __init__(self, target: Target, method: Method, *, drops_duplicates: bool = False) -> None:
        self._target, self._method, self._drops = target, method, drops_duplicates
        self._seen: set[int] = set()
        self.changes: Counter[str] = Counter()
        self.unread = 0

    def rows(self, lines: Iterable[bytes]) -> Iterator[Mended]:
        """The rows, each a line with its end. What cannot be read stands as it was, and is counted as `unread`.

        A row that nothing is wrong with keeps its bytes. Nothing is dropped but blank lines, and exact duplicates
        when asked to. Raises UnreadableDocument for a file that is no JSONL and no JSON: it would be lost.
        """
        has_crlf = False
        for line in read_lines(lines):
            codes = {fault.code for fault in line.faults}
            has_crlf = has_crlf or "F011" in codes
            for code in ("F006", "F010", "F011"):
                self.changes[code] += code in codes and not (code == "F010" and self._target.wants_bom)
            if line.is_blank:
                continue
            if codes & WHOLE or (line.data is None and not line.raw):
                told = line.faults[-1]
                raise UnreadableDocument(f"line {line.number}: {told.message}; the rest cannot be read as rows.")
            if not is_object(line.data):
                self.unread += 1
                yield Mended(line.raw.removeprefix(b"\xef\xbb\xbf") + b"\n")
                continue
            made = self._row(line, codes)
            if made is not None:
                yield made

    def _row(self, line: Line, codes: set[str]) -> Mended | None:
        data = line.data
        assert is_object(data)
        # Keys that stand twice, NaN and half pairs are not for us to choose: such a row stays as it is written.
        if codes & {"F009", "R008", "R009"}:
            self.unread += 1
            return Mended(line.raw.removeprefix(b"\xef\xbb\xbf") + b"\n")
        after, changed = mended(data, self._target, self._method)
        rewritten = codes & REWRITTEN
        for code in (*sorted(rewritten), *changed):
            self.changes[code] += 1
        if self._drops:
            whole = digest(canonical(after))
            if whole in self._seen:
                self.changes["Q001"] += 1
                return None
            self._seen.add(whole)
        if not changed and not rewritten and line.text:
            return Mended(line.text.strip().encode() + b"\n", data, data)
        return Mended(written(after), data, after)
