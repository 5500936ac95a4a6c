"""What a file holds, in numbers: rows, messages, tokens, answers."""

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence

from gateway.core.values import Value
from gateway.tuning.datasets.jsonl import read_lines
from gateway.tuning.datasets.rows import SYSTEM, Row, is_object, read_row
from gateway.tuning.token_counts import TokenCounter

MOST_KINDS = 5_000
SHOWN = 10


class Spread(Value, frozen=True):
    """Percentiles of a count, by nearest rank; all 0 where there is nothing."""

    p5: int
    p50: int
    p95: int
    most: int


class Statistics(Value, frozen=True):
    """rows: those that can be read. per_epoch: tokens billed once an epoch, longer examples cut at the limit.

    prompt, answer: mean tokens of each, for pricing a call like these. answers: the most frequent ones, when answers
    come again. is_estimate: the base's tokenizer is not known.
    """

    rows: int
    unread: int
    forms: tuple[tuple[str, int], ...]
    roles: tuple[tuple[str, int], ...]
    system_prompts: int
    with_tools: int
    tokens: Spread
    turns: Spread
    total_tokens: int
    per_epoch: int
    trained_tokens: int
    prompt: int
    answer: int
    encoding: str
    is_estimate: bool
    different_answers: int
    answers: tuple[tuple[str, int], ...]


class _Counting:
    def __init__(self, base: str, token_limit: int | None) -> None:
        self.counter = TokenCounter(base)
        self.limit = token_limit
        self.tokens, self.turns = array("L"), array("L")
        self.per_epoch = self.trained = self.prompt = self.answer = self.with_tools = 0
        self.forms: Counter[str] = Counter()
        self.roles: Counter[str] = Counter()
        self.systems: set[int] = set()
        self.answers: Counter[str] = Counter()

    def add(self, row: Row) -> None:
        counted = self.counter.of(row)
        self.tokens.append(counted.total)
        self.turns.append(len(row.turns))
        self.per_epoch += counted.total if self.limit is None else min(self.limit, counted.total)
        self.trained += counted.trained
        self.prompt += counted.prompt
        self.answer += counted.answer
        self.with_tools += bool(row.tools)
        self.forms[row.form] += 1
        self.roles.update(turn.role or "(none)" for turn in row.all_turns())
        system = "\n".join(turn.text for turn in row.turns if turn.role in SYSTEM)
        if len(self.systems) < MOST_KINDS:
            self.systems.add(hash(system))
        answer = "" if row.answer is None else row.answer.text.strip()
        if answer and len(answer) <= 80 and (answer in self.answers or len(self.answers) < MOST_KINDS):
            self.answers[answer] += 1


def statistics(lines: Iterable[bytes], base: str, token_limit: int | None) -> Statistics:
    """Reads the file once; memory is eight bytes a row and what the answers of a classification take."""
    counting, unread = _Counting(base, token_limit), 0
    for line in read_lines(lines):
        if is_object(line.data):
            counting.add(read_row(line.number, line.text, line.data))
        elif not line.is_blank:
            unread += 1
    rows = len(counting.tokens)
    comes_again = 3 * len(counting.answers) <= rows
    return Statistics(
        rows,
        unread,
        tuple(counting.forms.most_common()),
        tuple(counting.roles.most_common()),
        len(counting.systems),
        counting.with_tools,
        spread(counting.tokens),
        spread(counting.turns),
        sum(counting.tokens),
        counting.per_epoch,
        counting.trained,
        round(counting.prompt / max(1, rows)),
        round(counting.answer / max(1, rows)),
        counting.counter.vocabulary.encoding,
        counting.counter.vocabulary.is_estimate,
        len(counting.answers),
        tuple(counting.answers.most_common(SHOWN)) if comes_again else (),
    )


def spread(counts: Sequence[int]) -> Spread:
    """The percentiles of some counts."""
    if not counts:
        return Spread(0, 0, 0, 0)
    ordered = sorted(counts)
    at = [ordered[max(0, -(-percent * len(ordered) // 100) - 1)] for percent in (5, 50, 95)]
    return Spread(at[0], at[1], at[2], ordered[-1])
