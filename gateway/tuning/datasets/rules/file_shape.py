"""F: the file as a whole. Bytes, lines and how many there are."""

from collections import Counter

from gateway.tuning.datasets.faults import Code, Context, Family
from gateway.tuning.datasets.rows import Row


class FileShape:
    """Counts the rows and their forms."""

    def __init__(self, context: Context) -> None:
        self._told, self._target, self._method = context.told, context.target, context.method
        self._forms: Counter[str] = Counter()
        self._first: dict[str, int] = {}

    def row(self, row: Row) -> None:
        self._forms[row.form] += 1
        self._first.setdefault(row.form, row.line)

    def end(self) -> None:
        rows, target, told = self._forms.total(), self._target, self._told
        if not rows:
            told.file("F002", "the file holds no row that could be trained on")
        elif rows < target.least_rows:
            told.file("F004", f"{rows} rows; {target.name} takes {target.least_rows} or more")
        elif rows < target.good_rows:
            told.file("F005", f"{rows} rows; improvement is seen from {target.good_rows} to 100 on")
        if target.most_rows is not None and rows > target.most_rows:
            told.file("F014", f"{rows:,} rows; {target.name} takes {target.most_rows:,} at most")
        if len(self._forms) > 1 and self._method != "reinforcement":
            parts = (f"{count} {form} (first in line {self._first[form]})" for form, count in self._forms.most_common())
            told.file("F008", f"rows of different forms are mixed: {', '.join(parts)}")


FAMILY = Family(
    "The file",
    (
        Code("F001", "error", "Bytes that are not UTF-8."),
        Code("F002", "error", "The file holds no row."),
        Code("F003", "error", "The file is larger than the trainer takes."),
        Code("F004", "error", "Fewer rows than the trainer takes."),
        Code("F005", "warning", "Fewer rows than improvement was seen with."),
        Code("F006", "error", "A blank line.", is_fixable=True),
        Code("F007", "error", "A JSON array or pretty-printed JSON in place of a row a line.", is_fixable=True),
        Code("F008", "error", "Rows of different forms (chat, preference, prompt and completion) are mixed."),
        Code("F009", "error", "A key stands twice in one object; readers keep one of the two."),
        Code("F010", "error", "A byte-order mark begins the file.", is_fixable=True),
        Code("F011", "error", "Lines end in CRLF.", is_fixable=True),
        Code("F012", "error", "CSV or other delimited text in place of JSONL."),
        Code("F013", "error", "Not text in UTF-8: an archive, a workbook, Parquet or UTF-16."),
        Code("F014", "error", "More rows than the trainer takes."),
        Code("F015", "info", "Azure's guide asks for a byte-order mark, and there is none."),
    ),
    FileShape,
)
