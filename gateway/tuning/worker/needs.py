"""What an interpreter must have to train, asked without loading it."""

import importlib.util

LIBRARIES = ("torch", "transformers", "peft", "safetensors", "jinja2")


def missing_libraries() -> str | None:
    """Which of them this interpreter lacks, as a line for a person; None when it has all."""
    missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    if not missing:
        return None
    return f"Training needs {', '.join(missing)}, which this interpreter lacks: pip install 'switchyard[train]'."
