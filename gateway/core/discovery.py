"""How a family finds its members: one file each, one constant that says what it is."""

import importlib
import pkgutil
from types import ModuleType


def members(package: ModuleType, constant: str) -> dict[str, object]:
    """The `constant` of every module of `package`, by module name, in the order of the names."""
    found = {}
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        found[info.name] = getattr(module, constant)
    return found
