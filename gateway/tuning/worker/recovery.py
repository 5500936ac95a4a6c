"""Where a job goes on after a pause or a kill: adapter, optimizer, and the step; the newest one that is whole."""

import shutil
from typing import Any

import torch

from gateway.tuning.worker.folder import Folder, whole_folder
from gateway.tuning.worker.model import restore_adapter, save_adapter

_OPTIMIZER = "optimizer.pt"


class Recovery:
    """The folder `resume` of a job: one folder a step, of which the last is kept."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._path = folder.resume

    def save(self, step: int, model: Any, tokenizer: Any, optimizer: Any) -> None:
        """After `step` steps. A kill in the midst of it leaves the one before."""
        self._path.mkdir(exist_ok=True)
        with whole_folder(self._path / str(step)) as place:
            save_adapter(model, tokenizer, place)
            torch.save(optimizer.state_dict(), place / _OPTIMIZER)
        for path in self._path.iterdir():
            if path.name != str(step):
                shutil.rmtree(path, ignore_errors=True)

    def restore(self, model: Any, optimizer: Any, device: torch.device) -> int:
        """How many steps are done: 0 when nothing was kept, and then nothing is changed."""
        step = self._folder.kept_step()
        if step:
            place = self._path / str(step)
            restore_adapter(model, place)
            optimizer.load_state_dict(torch.load(place / _OPTIMIZER, map_location=device, weights_only=True))
        return step

    def drop(self) -> None:
        """Nothing is left to go on with."""
        shutil.rmtree(self._path, ignore_errors=True)
