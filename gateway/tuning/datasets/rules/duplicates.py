"""Q001 to Q004, Q014, Q020 to Q022: rows that repeat or contradict others, and rows that validation also has."""

from array import array

from gateway.tuning.datasets.digests import canonical, digest, gist, group_digest, said, said_digest, turns_digest
from gateway.tuning.datasets.faults import Code, Context, Family
from gateway.tuning.datasets.rows import SYSTEM, Row
from gateway.tuning.datasets.sketches import Sketches

TOO_MANY = 0.1
LEAST_ROWS = 20


class Duplicates:
    """Holds some 640 bytes of digests and signatures a row, and no text."""

    def __init__(self, context: Context) -> None:
        self._told = context.told
        self._lines = array("L")
        self._sketches = Sketches()
        # Digest of a row, of its prompt: the line it first stood in. Of a prompt also the digest of its answer.
        self._rows: dict[int, int] = {}
        self._answers: dict[int, tuple[int, int]] = {}
        self._duplicates = self._seen = 0
        self._held_rows: set[int] = set()
        self._held_prompts: set[int] = set()
        self._held_groups: set[int] = set()
        for row in context.validation or ():
            self._hold(row)
        self._held = len(self._sketches)

    def row(self, row: Row) -> None:
        if not any(True for _ in row.all_turns()):
            return
        self._seen += 1
        whole = digest(canonical(row.data))
        is_held = self._leak(row, whole) if self._held else False
        if whole in self._rows:
            self._duplicates += 1
            self._told.row("Q001", row, (), f"the same row as in line {self._rows[whole]}")
            return
        self._rows[whole] = row.line
        parts = [said(turn) for turn in row.turns]
        self._conflict(row, parts)
        if not is_held:
            self._lines.append(row.line)
            parts += map(said, row.chosen)
            turns = (*row.turns, *row.chosen)
            self._sketches.add(
                b"\n".join(part for part, turn in zip(parts, turns, strict=True) if turn.role not in SYSTEM)
            )

    def end(self) -> None:
        if self._seen >= LEAST_ROWS and self._duplicates > TOO_MANY * self._seen:
            share = self._duplicates / self._seen
            told = f"{self._duplicates} of {self._seen} rows ({share:.0%}) repeat an earlier one: they weigh double"
            self._told.file("Q014", told)
        for one, other, share in self._sketches.alike():
            if other < self._held:
                continue
            line = self._lines[other - self._held]
            if one < self._held:
                self._told.at("Q021", line, 1, f"much like a row of the validation file ({share:.0%} of its text)")
            else:
                earlier = self._lines[one - self._held]
                self._told.at("Q002", line, 1, f"much like the row in line {earlier} ({share:.0%} of its text)")

    def _hold(self, row: Row) -> None:
        self._held_rows.add(digest(canonical(row.data)))
        self._held_prompts.add(turns_digest(row.prompt))
        self._held_groups.add(group_digest(row))
        self._sketches.add(gist(row))

    def _leak(self, row: Row, whole: int) -> bool:
        """Says how the row stands in the validation file too, most telling first; True when it does."""
        if whole in self._held_rows:
            self._told.row("Q004", row, (), "the same row stands in the validation file")
        elif turns_digest(row.prompt) in self._held_prompts:
            self._told.row("Q020", row, (), "the validation file asks the same")
        elif group_digest(row) in self._held_groups:
            self._told.row("Q022", row, (), "the validation file has a row of the same conversation")
        else:
            return False
        return True

    def _conflict(self, row: Row, parts: list[bytes]) -> None:
        answer = row.answer
        if answer is None or row.form == "preference":
            return
        asked, answered = said_digest(parts[:-1]), digest(parts[-1])
        before = self._answers.setdefault(asked, (row.line, answered))
        if before[1] != answered:
            self._told.row("Q003", row, answer.place, f"line {before[0]} answers the same prompt otherwise")


FAMILY = Family(
    "Quality: duplicates, contradictions, leakage",
    (
        Code("Q001", "warning", "The same row as an earlier one.", is_fixable=True),
        Code("Q002", "info", "Much like an earlier row (MinHash, from 0.85 of the text)."),
        Code("Q003", "warning", "The same prompt with another answer."),
        Code("Q004", "error", "A row that the validation file has too."),
        Code("Q014", "error", "More than a tenth of the rows repeat earlier ones.", is_fixable=True),
        Code("Q020", "error", "A prompt that the validation file has too."),
        Code("Q021", "warning", "Much like a row of the validation file."),
        Code("Q022", "warning", "A row of a conversation that the validation file has too."),
    ),
    Duplicates,
)
