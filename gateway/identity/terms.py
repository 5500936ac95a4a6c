"""What a key is bound to: which models and paths, and the metadata that it puts on every call."""

from typing import get_args

import msgspec

from gateway.core.decision import Path
from gateway.core.errors import InvalidRequest
from gateway.core.values import Value

PATHS: tuple[str, ...] = get_args(Path)
MOST_MODELS = 100
LONGEST_MODEL = 256
# OpenAI's limits for a call's metadata; a key's is a part of it.
MOST_PAIRS = 16
LONGEST_NAME = 64
LONGEST_VALUE = 512


class Terms(Value, frozen=True):
    """allowed_models: names, or their beginnings with `*` after them; allowed_paths: of the gateway; empty is all."""

    allowed_models: tuple[str, ...] = ()
    allowed_paths: tuple[str, ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()


FREE = Terms()


def checked_terms(models: list[str] | None, paths: list[str] | None, metadata: dict[str, str] | None) -> Terms:
    """Terms as somebody writes them. Raises InvalidRequest (400) with what would be right."""
    return Terms(_models(models or []), _paths(paths or []), _metadata(metadata or {}))


def written_terms(models: str, paths: str, metadata: str) -> Terms:
    """Terms as the database has them: two JSON lists and an object."""
    return Terms(
        tuple(msgspec.json.decode(models)),
        tuple(msgspec.json.decode(paths)),
        tuple(sorted(msgspec.json.decode(metadata).items())),
    )


def _models(models: list[str]) -> tuple[str, ...]:
    if len(models) > MOST_MODELS:
        raise InvalidRequest(
            f"allowed_models has {len(models)} names; at most {MOST_MODELS}, and `ft:gpt-4o*` stands for many.",
            param="allowed_models",
        )
    for name in models:
        if not name or len(name) > LONGEST_MODEL or not name.isprintable() or "*" in name[:-1]:
            raise InvalidRequest(
                f"allowed_models has {name[:LONGEST_MODEL]!r}; it must be a model's name, or its beginning with one "
                "`*` at the end.",
                param="allowed_models",
            )
    return tuple(dict.fromkeys(models))


def _paths(paths: list[str]) -> tuple[str, ...]:
    for path in paths:
        if path not in PATHS:
            raise InvalidRequest(
                f"allowed_paths has {path[:LONGEST_NAME]!r}; it takes {', '.join(PATHS)}.", param="allowed_paths"
            )
    return tuple(dict.fromkeys(paths))


def _metadata(metadata: dict[str, str]) -> tuple[tuple[str, str], ...]:
    if len(metadata) > MOST_PAIRS:
        raise InvalidRequest(f"metadata has {len(metadata)} pairs; at most {MOST_PAIRS}.", param="metadata")
    for name, value in metadata.items():
        fits = 0 < len(name) <= LONGEST_NAME and len(value) <= LONGEST_VALUE
        if not fits or not name.isprintable() or not value.isprintable():
            raise InvalidRequest(
                f"metadata has {name[:LONGEST_NAME]!r}; names take 1 to {LONGEST_NAME}, values up to {LONGEST_VALUE} "
                "printable characters.",
                param="metadata",
            )
    return tuple(sorted(metadata.items()))
