"""What is made smaller: the surprise at the answers that are learnt, or a preference that is not yet had."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from gateway.core.values import Value
from gateway.tuning.worker.chat import Encoded, Pair

_IGNORED = -100


class Measured(Value, frozen=True):
    """A batch's sums. loss: a tensor to differentiate. count: what it is divided by. right: of those, the hits."""

    loss: Any
    count: int
    right: int


def trained_count(rows: Sequence[Encoded]) -> int:
    """Tokens that are learnt."""
    return sum(sum(row.trained) for row in rows)


def surprise(model: Any, rows: Sequence[Encoded], device: torch.device) -> Measured:
    """Cross-entropy of the tokens that are learnt, given all before them. right: those that came first."""
    logits, labels = _forward(model, rows, device)
    loss = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=_IGNORED, reduction="sum")
    learnt = labels != _IGNORED
    right = int(((logits.argmax(-1) == labels) & learnt).sum())
    return Measured(loss, int(learnt.sum()), right)


def preference(model: Any, pairs: Sequence[Pair], beta: float, device: torch.device) -> Measured:
    """DPO (Rafailov et al. 2023); the reference is the same model without its adapter. right: pairs in order."""
    rows = [*(pair.better for pair in pairs), *(pair.worse for pair in pairs)]
    ours = _log_likelihoods(model, rows, device)
    with torch.no_grad(), model.disable_adapter():
        reference = _log_likelihoods(model, rows, device)
    gain = ours - reference
    margin = beta * (gain[: len(pairs)] - gain[len(pairs) :])
    return Measured(-functional.logsigmoid(margin).sum(), len(pairs), int((margin > 0).sum()))


def _log_likelihoods(model: Any, rows: Sequence[Encoded], device: torch.device) -> Any:
    logits, labels = _forward(model, rows, device)
    # Flat, as the loss over two dimensions adds up in any order on a GPU.
    flat = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=_IGNORED, reduction="none")
    return -flat.view(labels.shape).sum(1)


def _forward(model: Any, rows: Sequence[Encoded], device: torch.device) -> tuple[Any, Any]:
    """Logits (rows, length - 1, words) in float32, and for each the token that is to come or _IGNORED."""
    length = max(len(row.ids) for row in rows)
    ids = torch.zeros((len(rows), length), dtype=torch.long)
    labels = torch.full((len(rows), length), _IGNORED, dtype=torch.long)
    mask = torch.zeros((len(rows), length), dtype=torch.long)
    for index, row in enumerate(rows):
        here = torch.tensor(row.ids)
        ids[index, : len(here)] = here
        mask[index, : len(here)] = 1
        labels[index, : len(here)] = torch.where(torch.tensor(row.trained), here, _IGNORED)
    logits = model(input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False).logits
    return logits[:, :-1].float(), labels[:, 1:].to(device)
