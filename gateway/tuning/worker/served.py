"""What the serving worker can be called for: base models, adapters that were published, and those loaded by request."""

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import torch

from gateway.core.values import Value
from gateway.tuning.worker.asked import Ask, Refused
from gateway.tuning.worker.folder import read_published, unpublish
from gateway.tuning.worker.generation import Left, Loaded, Piece
from gateway.tuning.worker.model import NotLoadable


class Named(Value, frozen=True):
    """A model that can be called. base: the name of its base, or None when it is one. adapter: its folder."""

    name: str
    base: str | None
    base_path: str
    adapter: Path | None


class Served:
    """root: the folder of jobs. bases: paths by name. `answer` and `load` are for one thread, the rest for any."""

    def __init__(self, root: Path, bases: Mapping[str, str], device: torch.device) -> None:
        self._root = root
        self._bases = dict(bases)
        self._device = device
        self._asked_for: dict[str, Named] = {}
        self._loaded: dict[str, Loaded] = {}
        self._lock = threading.Lock()

    def listed(self) -> list[Named]:
        """All of them, as the folder is now. Bases of published adapters can be called too."""
        published = read_published(self._root)
        bases = {entry.model: entry.base_path for entry in published.values()} | self._bases
        with self._lock:
            named = dict(self._asked_for)
        for entry in published.values():
            named.setdefault(
                entry.name, Named(entry.name, entry.model, bases[entry.model], (self._root / entry.path).resolve())
            )
        return [*(Named(name, None, path, None) for name, path in sorted(bases.items())), *named.values()]

    def named(self, name: str) -> Named:
        """Raises Refused (404) for a name that nothing here has."""
        for found in self.listed():
            if found.name == name:
                return found
        raise Refused(404, f"The model {name!r} does not exist here.", code="model_not_found", param="model")

    def answer(self, ask: Ask, left: Left) -> Iterator[Piece]:
        """The answer in pieces. Raises Refused."""
        found = self.named(ask.model)
        try:
            yield from self._base(found).answer(ask, found.adapter, left)
        except NotLoadable as fault:
            raise Refused(500, str(fault), code="model_not_loadable") from None

    def load(self, name: str, path: str, *, in_place: bool) -> None:
        """Loads an adapter under a name. Raises Refused: 400 for a name that is taken, 404 for what is no adapter."""
        adapter = Path(path).resolve()
        taken = next((found for found in self.listed() if found.name == name), None)
        if taken is not None and not in_place:
            raise Refused(400, f"The lora adapter {name!r} has already been loaded; `load_inplace` replaces it.")
        base = self._base_of(adapter)
        found = Named(name, base, self._paths()[base], adapter)
        try:
            held = self._base(found)
            held.forget(adapter)
            held.use(adapter)
        except NotLoadable as fault:
            raise Refused(400, str(fault)) from None
        with self._lock:
            self._asked_for[name] = found

    def unload(self, name: str) -> None:
        """It can be called no more, also not after a restart. Raises Refused (404) when it could not before."""
        with self._lock:
            had = self._asked_for.pop(name, None) is not None
        if not unpublish(self._root, name) and not had:
            raise Refused(404, f"The lora adapter {name!r} cannot be found.")

    def _paths(self) -> dict[str, str]:
        return {found.name: found.base_path for found in self.listed() if found.base is None}

    def _base(self, found: Named) -> Loaded:
        if found.base_path not in self._loaded:
            self._loaded[found.base_path] = Loaded(found.base_path, self._device)
        return self._loaded[found.base_path]

    def _base_of(self, adapter: Path) -> str:
        """By the base that the adapter names; when only one is served, that one."""
        try:
            config = msgspec.json.decode((adapter / "adapter_config.json").read_bytes(), type=dict[str, object])
        except (OSError, msgspec.DecodeError):
            raise Refused(404, "There is no adapter at `lora_path`: its adapter_config.json cannot be read.") from None
        trained_on = config.get("base_model_name_or_path")
        paths = self._paths()
        for name, path in paths.items():
            if isinstance(trained_on, str) and Path(trained_on).resolve() == Path(path).resolve():
                return name
        if len(paths) == 1:
            return next(iter(paths))
        raise Refused(400, f"The adapter belongs to a model that is not served here; here are {', '.join(paths)}.")
