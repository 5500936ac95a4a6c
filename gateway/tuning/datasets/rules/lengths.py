"""L: lengths in tokens. What is too long is cut from its end, and the end is the answer."""

from gateway.tuning.datasets.faults import Code, Context, Family
from gateway.tuning.datasets.rows import Row

MOSTLY_PROMPT = 0.98


class Lengths:
    """Counts the tokens of each row."""

    def __init__(self, context: Context) -> None:
        self._told, self._target = context.told, context.target
        self._counter = context.counter
        self._mostly_prompt = self._rows = 0

    def row(self, row: Row) -> None:
        if row.form not in {"chat", "preference"}:
            return
        tokens = self._counter.of(row)
        self._rows += 1
        limit, answer = self._target.token_limit, row.answer
        if limit is not None and tokens.longest > limit:
            over = tokens.longest - limit
            whole = max(tokens.answer, tokens.rejected)
            lost = f"{min(over, whole):,} of the answer's {whole:,} tokens are lost" if whole else "its end is lost"
            taker = self._target.base or self._target.name
            told = f"{tokens.longest:,} tokens; {taker} takes {limit:,} and cuts the end: {lost}"
            self._told.row("L001", row, answer.place if answer else row.messages_place, told)
        self._mostly_prompt += answer is not None and tokens.prompt > MOSTLY_PROMPT * tokens.total

    def end(self) -> None:
        if self._mostly_prompt:
            told = (
                f"in {self._mostly_prompt} of {self._rows} rows more than {MOSTLY_PROMPT:.0%} of the tokens are prompt"
            )
            self._told.file("L002", f"{told}; they are paid for in each epoch")
        if self._target.base and self._target.token_limit is None:
            self._told.file("L004", f"no token limit is known for {self._target.base!r}; lengths are not judged")
        if self._counter.vocabulary.is_estimate and self._target.base:
            told = f"the tokenizer of {self._target.base!r} is not known; tokens are estimated with o200k_base"
            self._told.file("L005", told)


FAMILY = Family(
    "Lengths",
    (
        Code("L001", "error", "More tokens than the base takes: the answer is cut off."),
        Code("L002", "info", "Rows that are nearly all prompt."),
        Code("L004", "info", "No token limit is known for the base."),
        Code("L005", "info", "The base's tokenizer is not known; tokens are estimates."),
    ),
    Lengths,
)
