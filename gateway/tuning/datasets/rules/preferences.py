"""D: rows of direct preference optimisation. An input and two outputs, the better and the worse."""

from gateway.tuning.datasets.faults import Code, Context, Family
from gateway.tuning.datasets.places import key_column
from gateway.tuning.datasets.rows import CHOSEN, REJECTED, Row, Turn, is_object

# The longer answer winning most of the time teaches length and nothing else.
LONGER = 1.5
BIASED = 0.8
LEAST_ROWS = 20


class Preferences:
    """Looks at preference rows, and whether the preferred ones are merely longer."""

    def __init__(self, context: Context) -> None:
        self._told, self._is_dpo = context.told, context.method == "dpo"
        self._rows = self._longer = 0

    def row(self, row: Row) -> None:
        if row.form != "preference":
            if self._is_dpo:
                told = "a preference row has `input`, `preferred_output` and `non_preferred_output`"
                self._told.row("D006", row, (), told)
            return
        if not self._is_dpo:
            self._told.row("D008", row, (), "this is a preference row, and the method is not dpo")
        self._keys(row)
        self._outputs(row)
        if row.turns and row.turns[-1].is_answer:
            self._told.row("D004", row, row.turns[-1].place, "the input ends with the assistant; a user must ask")
        for turn in row.all_turns():
            if _has_image(turn):
                self._told.row("D007", row, turn.place, "preferences are learned from text alone; here is an image")

    def end(self) -> None:
        if self._rows >= LEAST_ROWS and self._longer > BIASED * self._rows:
            share = self._longer / self._rows
            self._told.file("D005", f"in {share:.0%} of {self._rows} rows the preferred answer is much the longer one")

    def _keys(self, row: Row) -> None:
        for key in (CHOSEN[1], REJECTED[1]):
            if key in row.data:
                column = key_column(row.text, (), key)
                told = f"{key!r} is an older spelling of {key.replace('completion', 'output')!r}"
                self._told.at("D001", row.line, column, told)
        for keys in (CHOSEN, REJECTED):
            if not any(isinstance(row.data.get(key), list) for key in keys):
                self._told.row("D006", row, (), f"`{keys[0]}` is missing or no list")
        if not row.turns:
            self._told.row("D006", row, ("input",), "`input.messages` is missing or empty")
        given = row.data.get("input")
        for key in given if is_object(given) else ():
            if key not in {"messages", "tools", "parallel_tool_calls"}:
                self._told.at(
                    "D009", row.line, key_column(row.text, ("input",), key), f"{key!r} is not known in `input`"
                )

    def _outputs(self, row: Row) -> None:
        for outputs in (row.chosen, row.rejected):
            if outputs and (len(outputs) != 1 or not outputs[0].is_answer):
                place = outputs[0].place[:1]
                self._told.row("D002", row, place, "an output is exactly one message of the assistant")
        if not row.chosen or not row.rejected:
            return
        chosen, rejected = row.chosen[-1], row.rejected[-1]
        if chosen.text.strip() == rejected.text.strip() and list(chosen.calls) == list(rejected.calls):
            self._told.row("D003", row, rejected.place, "both outputs are the same: there is nothing to prefer")
        self._rows += 1
        self._longer += len(chosen.text) > LONGER * len(rejected.text)


def _has_image(turn: Turn) -> bool:
    content = turn.message.get("content")
    return isinstance(content, list) and any(is_object(part) and part.get("type") == "image_url" for part in content)


FAMILY = Family(
    "Preferences (DPO)",
    (
        Code("D001", "error", "`preferred_completion` in place of `preferred_output`.", is_fixable=True),
        Code("D002", "error", "An output that is not exactly one message of the assistant."),
        Code("D003", "error", "Both outputs are the same."),
        Code("D004", "error", "The input ends with the assistant."),
        Code("D005", "warning", "The preferred answer is nearly always much the longer one."),
        Code("D006", "error", "Input, preferred or non-preferred output is missing."),
        Code("D007", "error", "An image in a preference row."),
        Code("D008", "error", "A preference row in a file for another method."),
        Code("D009", "error", "A key of `input` that is not known."),
    ),
    Preferences,
)
