"""G: rows of reinforcement fine-tuning, which a grader judges. A prompt, and whatever the grader needs."""

from collections import Counter

from gateway.tuning.datasets.faults import Code, Context, Family
from gateway.tuning.datasets.places import key_column
from gateway.tuning.datasets.rows import Row

# Names that grader templates give a meaning of their own: `{{sample.output_text}}`, `{{item.reference}}`.
RESERVED = frozenset({"sample", "item"})
# Which keys stand in how many rows is held; a file with more different keys than this has no scheme at all.
MOST_KEYS = 200


class Reinforcement:
    """Looks at rows for a grader."""

    def __init__(self, context: Context) -> None:
        self._told, self._is_on = context.told, context.method == "reinforcement"
        self._keys: Counter[str] = Counter()
        self._rows = 0

    def row(self, row: Row) -> None:
        if not self._is_on:
            return
        self._rows += 1
        if row.turns and row.turns[-1].is_answer:
            told = "the last message must be the user's: the model answers, and the grader judges"
            self._told.row("G001", row, row.turns[-1].place, told)
        for key in row.data:
            if key in RESERVED:
                column = key_column(row.text, (), key)
                self._told.at("G003", row.line, column, f"graders mean something else by {key!r}; name it otherwise")
            elif key != "messages" and (key in self._keys or len(self._keys) < MOST_KEYS):
                self._keys[key] += 1

    def end(self) -> None:
        for key, count in self._keys.items():
            if count < self._rows:
                told = f"the field {key!r} is missing in {self._rows - count} of {self._rows} rows"
                self._told.file("G002", f"{told}; a grader that names it fails there")
        if self._rows and not self._keys:
            self._told.file("G004", "no field beside `messages`: a grader has nothing to compare with")


FAMILY = Family(
    "Reinforcement",
    (
        Code("G001", "error", "The last message is the assistant's."),
        Code("G002", "warning", "A field that some rows have and others not."),
        Code("G003", "error", "A field named like what graders already mean by it."),
        Code("G004", "info", "No field that a grader could compare an answer with."),
    ),
    Reinforcement,
)
