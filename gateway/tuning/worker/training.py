"""Training: the same function on this machine and on a cluster, on a CPU and on a GPU.

Everything is a function of the job and the step: the order of examples, the learning rate, the adapter's first
weights. So a job that was paused or killed ends as if it had not been.
"""

import math
import random
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from gateway.tuning.contract import Numbers
from gateway.tuning.worker.chat import Encoded, Pair
from gateway.tuning.worker.folder import Folder, publish, whole_folder
from gateway.tuning.worker.hyperparameters import settle
from gateway.tuning.worker.job import Job, Published
from gateway.tuning.worker.losses import Measured, preference, surprise, trained_count
from gateway.tuning.worker.material import Row, read_material
from gateway.tuning.worker.model import (
    NotLoadable,
    context_of,
    load_base,
    load_tokenizer,
    save_adapter,
    settle_torch,
    sha256_of,
    trained_parameters,
    with_adapter,
)
from gateway.tuning.worker.recovery import Recovery
from gateway.tuning.worker.report import JobFailed, Report

CHECKPOINTS_KEPT = 3
# What a killed worker may lose at most; the end of an epoch is kept too.
SAVE_SECONDS = 60.0
_WARM_UP_SHARE = 0.05
_MOST_NORM = 1.0
_VALID_BATCHES = 10

Stopped = Callable[[], bool]


class Training:
    """One job in one process. stopped: whether this process is asked to end; the job then goes on in another."""

    def __init__(self, folder: Folder, job: Job, report: Report, stopped: Stopped) -> None:
        self._folder = folder
        self._job = job
        self._report = report
        self._stopped = stopped
        self._recovery = Recovery(folder)
        try:
            self._device = settle_torch(job.base.threads)
            self._tokenizer = load_tokenizer(job.base.path)
            plain = load_base(job.base.path, self._device)
            longest = job.base.longest or context_of(plain)
            self._material = read_material(folder, job.method, self._tokenizer, longest)
            adapter = None if job.adapter is None else str(folder.path.parent / job.adapter)
            self._model = with_adapter(plain, job.base, job.seed, adapter)
        except NotLoadable as fault:
            raise JobFailed("model_not_loadable", str(fault), "model") from None
        self._chosen = settle(job.hyperparameters, job.method, self._material.examples, job.base.learning_rate)
        self._steps_per_epoch = math.ceil(len(self._material.rows) / self._chosen.batch_size)
        self._total = self._steps_per_epoch * self._chosen.n_epochs
        self._optimizer = torch.optim.AdamW(
            trained_parameters(self._model), lr=self._chosen.learning_rate, weight_decay=0.0
        )

    def run(self) -> None:
        """Trains to the end, or to where it is told to stop. Raises JobFailed."""
        done = self._recovery.restore(self._model, self._optimizer, self._device)
        self._report.begin(self._chosen, self._total, self._material.tokens * self._chosen.n_epochs, done)
        saved = time.monotonic()
        for step in range(done + 1, self._total + 1):
            if self._leaves(step - 1):
                return
            numbers = self._step(step)
            ends_epoch = step % self._steps_per_epoch == 0
            self._report.step(step, self._total, numbers)
            if ends_epoch:
                self._keep_checkpoint(step, numbers)
            if ends_epoch or time.monotonic() - saved > SAVE_SECONDS:
                self._save(step)
                saved = time.monotonic()
        self._finish()

    def _leaves(self, step: int) -> bool:
        """Whether somebody wants this to stop after `step`, and if so has what is needed to go on kept."""
        asked = self._folder.control()
        if asked == "cancel":
            self._report.stop("cancelled", f"Training was cancelled after step {step}/{self._total}.", step)
            self._recovery.drop()
        elif asked == "pause":
            self._save(step)
            self._report.stop("paused", f"Training was paused after step {step}/{self._total}.", step)
        elif self._stopped():
            self._save(step)
            self._report.stop("queued", f"The worker was told to end after step {step}/{self._total}.", step)
        return bool(asked) or self._stopped()

    def _save(self, step: int) -> None:
        self._recovery.save(step, self._model, self._tokenizer, self._optimizer)

    def _step(self, step: int) -> Numbers:
        """One step of the optimizer; its loss is that before the step. Raises JobFailed when it is no number."""
        rows = self._batch(step)
        whole = sum(map(self._weight, rows))
        for group in self._optimizer.param_groups:
            group["lr"] = self._learning_rate(step)
        self._optimizer.zero_grad(set_to_none=True)
        loss, right = 0.0, 0
        for part in self._parts(rows):
            measured = self._measure(part)
            (measured.loss / whole).backward()
            loss += measured.loss.item() / whole
            right += measured.right
        if not math.isfinite(loss):
            raise JobFailed(
                "training_diverged",
                f"The loss is no number at step {step}; a lower learning_rate_multiplier may help.",
                "hyperparameters",
            )
        torch.nn.utils.clip_grad_norm_(trained_parameters(self._model), _MOST_NORM)
        self._optimizer.step()
        accuracy = "train_accuracy" if self._job.method == "dpo" else "train_mean_token_accuracy"
        numbers = (("step", step), ("total_steps", self._total), ("train_loss", loss), (accuracy, right / whole))
        return (*numbers, *self._validated(step))

    def _validated(self, step: int) -> Numbers:
        """On a batch of the validation file some ten times an epoch; on all of it where an epoch ends."""
        rows = self._material.valid
        ends_epoch = step % self._steps_per_epoch == 0
        if not rows or (step % max(1, self._steps_per_epoch // _VALID_BATCHES) and not ends_epoch):
            return ()
        size = min(len(rows), max(self._chosen.batch_size, self._job.base.micro_batch))
        begins = step * size % len(rows)
        # The file is a ring here, so that each of its examples comes in turn.
        found = self._loss_and_accuracy("valid", (*rows, *rows)[begins : begins + size])
        return (*found, *self._loss_and_accuracy("full_valid", rows)) if ends_epoch else found

    def _loss_and_accuracy(self, name: str, rows: Sequence[Row]) -> Numbers:
        with torch.no_grad():
            measured = [self._measure(part) for part in self._parts(rows)]
        whole = sum(one.count for one in measured)
        accuracy = "accuracy" if self._job.method == "dpo" else "mean_token_accuracy"
        return (
            (f"{name}_loss", sum(one.loss.item() for one in measured) / whole),
            (f"{name}_{accuracy}", sum(one.right for one in measured) / whole),
        )

    def _measure(self, rows: Sequence[Row]) -> Measured:
        pairs = [row for row in rows if isinstance(row, Pair)]
        if pairs:
            return preference(self._model, pairs, self._chosen.beta, self._device)
        return surprise(self._model, [row for row in rows if isinstance(row, Encoded)], self._device)

    def _weight(self, row: Row) -> int:
        return 1 if isinstance(row, Pair) else trained_count([row])

    def _parts(self, rows: Sequence[Row]) -> list[Sequence[Row]]:
        """As many as fit into memory at once; the sums are the same however they are parted, but for rounding."""
        size = self._job.base.micro_batch
        return [rows[start : start + size] for start in range(0, len(rows), size)]

    def _batch(self, step: int) -> list[Row]:
        epoch, index = divmod(step - 1, self._steps_per_epoch)
        order = list(range(len(self._material.rows)))
        random.Random(f"{self._job.seed}:{epoch}").shuffle(order)  # noqa: S311  # the same order for the same seed
        start = index * self._chosen.batch_size
        return [self._material.rows[row] for row in order[start : start + self._chosen.batch_size]]

    def _learning_rate(self, step: int) -> float:
        """Warms up over the first twentieth, then falls in a straight line, never quite to nothing."""
        warm = max(1, round(self._total * _WARM_UP_SHARE))
        share = step / warm if step < warm else (self._total - step + 1) / (self._total - warm + 1)
        return self._chosen.learning_rate * share

    def _keep_checkpoint(self, step: int, numbers: Numbers) -> None:
        self._folder.checkpoints.mkdir(exist_ok=True)
        with whole_folder(self._folder.checkpoint(step)) as place:
            save_adapter(self._model, self._tokenizer, place)
            self._report.checkpoint(step // self._steps_per_epoch - 1, step, numbers, place)
        self._report.say(f"checkpoint:{step}", f"A checkpoint was saved after step {step}/{self._total}.")
        for saved in self._folder.saved()[:-CHECKPOINTS_KEPT]:
            shutil.rmtree(self._folder.checkpoint(saved.step), ignore_errors=True)

    def _finish(self) -> None:
        """The adapter is on disk, and those who serve may find it, before the job says that it has succeeded."""
        with whole_folder(self._folder.adapter) as place:
            save_adapter(self._model, self._tokenizer, place)
        self._publish(self._job.name, self._folder.adapter)
        for saved in self._folder.saved():
            self._publish(saved.model, self._folder.checkpoint(saved.step))
        self._report.results()
        self._report.succeed(self._total, sha256_of(self._folder.adapter))
        self._recovery.drop()

    def _publish(self, name: str, adapter: Path) -> None:
        root = self._folder.path.parent
        path = adapter.relative_to(root).as_posix()
        publish(root, Published(name, self._job.model, self._job.base.path, path))
