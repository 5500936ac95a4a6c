"""What a job is trained on and measured by: its files as tokens, or all that is wrong with them."""

from pathlib import Path
from typing import Any

from gateway.core.values import Value
from gateway.tuning.worker.chat import Encoded, NotChat, Pair, encode, encode_pair
from gateway.tuning.worker.examples import MOST_TOLD, FileFaults, read_file
from gateway.tuning.worker.folder import Folder
from gateway.tuning.worker.job import LocalMethod
from gateway.tuning.worker.losses import trained_count
from gateway.tuning.worker.report import JobFailed

Row = Encoded | Pair


class Material(Value, frozen=True):
    """examples: lines of the training file. rows: sequences or pairs. tokens: of one epoch, what is billed."""

    examples: int
    rows: tuple[Row, ...]
    valid: tuple[Row, ...]
    tokens: int


def read_material(folder: Folder, method: LocalMethod, tokenizer: Any, longest: int | None) -> Material:
    """Both files. longest: tokens of an example, None for no limit. Raises JobFailed for what cannot be used."""
    examples, rows = _rows(folder.training, method, tokenizer, longest, "training_file")
    valid: tuple[Row, ...] = ()
    if folder.validation.exists():
        _, valid = _rows(folder.validation, method, tokenizer, longest, "validation_file")
    return Material(examples, rows, valid, sum(map(_tokens, rows)))


def _rows(
    path: Path, method: LocalMethod, tokenizer: Any, longest: int | None, param: str
) -> tuple[int, tuple[Row, ...]]:
    rows: list[Row] = []
    faults: list[str] = []
    try:
        examples = read_file(path, method)
    except FileFaults as fault:
        raise JobFailed(f"invalid_{param}", str(fault), param) from None
    for example in examples:
        try:
            found = [encode_pair(tokenizer, example)] if method == "dpo" else encode(tokenizer, example)
        except NotChat as fault:
            faults.append(f"Line {example.line}: {fault}.")
            continue
        faults += [f"Line {example.line}: {fault}" for row in found for fault in _faults(row, longest)]
        rows += found
    if faults:
        more = f" And {len(faults) - MOST_TOLD} more." if len(faults) > MOST_TOLD else ""
        raise JobFailed(f"invalid_{param}", " ".join(faults[:MOST_TOLD]) + more, param)
    return len(examples), tuple(rows)


def _sides(row: Row) -> tuple[Encoded, ...]:
    return (row.better, row.worse) if isinstance(row, Pair) else (row,)


def _tokens(row: Row) -> int:
    return sum(len(side.ids) for side in _sides(row))


def _faults(row: Row, longest: int | None) -> list[str]:
    """What is cut off is the end, and the end is the answer: an example that does not fit is refused, not cut."""
    most = max(len(side.ids) for side in _sides(row))
    if longest is not None and most > longest:
        return [f"{most} tokens are more than the {longest} that fit; its answer would be cut off."]
    if not all(trained_count([side]) for side in _sides(row)):
        return ["its answer has no tokens to learn from."]
    return []
