"""What a dataset is built of: one exchange at a time, whatever it was read from."""

from collections import Counter
from collections.abc import Iterable, Iterator
from heapq import nsmallest
from typing import Literal

from gateway.core.values import Value
from gateway.tuning.datasets.digests import canonical, digest
from gateway.tuning.datasets.personal import Kind
from gateway.tuning.datasets.provenance import Provenance, row_hash
from gateway.tuning.datasets.redaction import redacted


class Said(Value, frozen=True):
    """One message of an exchange."""

    role: Literal["user", "assistant"]
    text: str


class Exchange(Value, frozen=True):
    """What was asked and what was answered.

    id: its name in its source. group: what belongs together, such as a conversation; its id where there is no other.
    messages: up to the question. created_at: as the source writes it. is_resolved: None where the source does not
    say. rejected: of a feedback pair, the answer that was not liked. meta: whatever else a later reader asks for.
    """

    id: str
    group: str
    messages: tuple[Said, ...]
    answer: str
    created_at: str = ""
    is_resolved: bool | None = None
    rejected: str = ""
    meta: tuple[tuple[str, str], ...] = ()


class Options(Value, frozen=True):
    """How rows are made. least, most: characters of an answer. limit: so many rows, drawn by `seed`; None is all."""

    source: str
    system: str = ""
    only_resolved: bool = False
    least: int = 1
    most: int | None = None
    drops_duplicates: bool = True
    redacts: bool = True
    limit: int | None = None
    seed: int = 0


class Built(Value, frozen=True):
    """One row and where it comes from."""

    row: dict[str, object]
    provenance: Provenance


class Building:
    """Makes rows of exchanges. left_out: why others were not taken; replaced: what was redacted, by kind."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.left_out: Counter[str] = Counter()
        self.replaced: Counter[Kind] = Counter()

    def rows(self, exchanges: Iterable[Exchange]) -> Iterator[Built]:
        """The rows, in the order of the exchanges. The same exchanges and options give the same bytes."""
        options = self._options
        taken = (exchange for exchange in exchanges if self._is_taken(exchange))
        built = self._distinct(map(self._row, taken))
        if options.limit is None:
            yield from built
            return
        drawn = nsmallest(options.limit, enumerate(built), key=lambda numbered: self._rank(numbered[1]))
        yield from (one for _, one in sorted(drawn, key=lambda numbered: numbered[0]))

    def _rank(self, built: Built) -> int:
        return digest(f"{self._options.seed}:{built.provenance.row}".encode())

    def _is_taken(self, exchange: Exchange) -> bool:
        why = self._reason(exchange)
        if why:
            self.left_out[why] += 1
        return not why

    def _reason(self, exchange: Exchange) -> str:
        options, answer = self._options, exchange.answer.strip()
        if not exchange.messages or not any(said.text.strip() for said in exchange.messages):
            return "nothing asked"
        if not answer:
            return "not answered"
        if options.only_resolved and not exchange.is_resolved:
            return "not resolved"
        if len(answer) < options.least:
            return "answer too short"
        return "answer too long" if options.most is not None and len(answer) > options.most else ""

    def _row(self, exchange: Exchange) -> Built:
        options = self._options
        messages: list[object] = [{"role": "system", "content": options.system}] if options.system else []
        messages += [{"role": said.role, "content": said.text.strip()} for said in exchange.messages]
        answer = {"role": "assistant", "content": exchange.answer.strip()}
        row: dict[str, object] = {"messages": [*messages, answer]}
        if exchange.rejected:
            rejected = {"role": "assistant", "content": exchange.rejected.strip()}
            row = {
                "input": {"messages": messages},
                "preferred_output": [answer],
                "non_preferred_output": [rejected],
            }
        transforms: tuple[str, ...] = ("build",)
        if options.redacts:
            row = dict(redacted(row, self.replaced))
            transforms = (*transforms, "redact")
        told = Provenance(
            row_hash(row), options.source, exchange.id, exchange.group, transforms, created_at=exchange.created_at
        )
        return Built(row, told)

    def _distinct(self, built: Iterable[Built]) -> Iterator[Built]:
        seen: set[int] = set()
        for one in built:
            whole = digest(canonical(one.row))
            if self._options.drops_duplicates and whole in seen:
                self.left_out["the same as another"] += 1
                continue
            seen.add(whole)
            yield one


def conversation(said: Iterable[Said]) -> tuple[tuple[Said, ...], str]:
    """(messages up to the last answer, that answer) of a conversation; neighbours of one side become one message.

    What comes before the first question, and after the last answer, is left out. ("", ()) parts may be empty.
    """
    merged: list[Said] = []
    for one in said:
        if not one.text.strip() or (not merged and one.role == "assistant"):
            continue
        if merged and merged[-1].role == one.role:
            merged[-1] = Said(one.role, f"{merged[-1].text.rstrip()}\n\n{one.text.strip()}")
        else:
            merged.append(one)
    while merged and merged[-1].role != "assistant":
        merged.pop()
    return (tuple(merged[:-1]), merged[-1].text) if merged else ((), "")
