"""Whether a call is what a line was trained for: the evidence behind the condition `task`."""

import asyncio
import contextlib
import hashlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from gateway.core.call import Call
from gateway.core.errors import GatewayError
from gateway.core.facts import Evidence, TaskSignal
from gateway.core.question import cut_question
from gateway.core.values import Value
from gateway.tuning.examples import Examples, system_prompt
from gateway.tuning.likeness import (
    Likeness,
    Matrix,
    Vector,
    compared,
    counts,
    in_half,
    likeness_of,
    rarities,
    unit_rows,
)

BATCH = 64
# How much more a system prompt says of which line is meant than the turn does.
SYSTEM_PROMPT_SHARE = 2.0

log = logging.getLogger("gateway.tuning")
Took = Callable[[int | None], None]


class Embedding(Protocol):
    """What texts become: (n, dim) float32 rows of unit length, and the tokens that took."""

    @property
    def rows(self) -> Matrix:
        """One row for each text."""
        ...

    @property
    def tokens(self) -> int | None:
        """What the embedder says it read."""
        ...


class Embeds(Protocol):
    """An embedder as this package uses it; those of `knowledge` fit."""

    @property
    def name(self) -> str:
        """Another model has another name."""
        ...

    @property
    def is_local(self) -> bool:
        """Whether it works on this machine and no upstream is asked."""
        ...

    async def embed(self, texts: Sequence[str]) -> Embedding:
        """One row for each text."""
        ...

    async def question(self, text: str, took: Took) -> Vector:
        """One text, remembered. took: told the tokens when the embedder was really asked."""
        ...


class Compared(Value, frozen=True):
    """A line's examples in one way of comparing: their turns, and the different system prompts."""

    turns: Likeness
    systems: Likeness


class Line(Value, frozen=True):
    """A line's examples. meaning: as the embedder sees them, once it has."""

    examples: Examples
    words: Compared
    meaning: Compared | None = None


class Tasks:
    """The lines that rules ask about. Searching takes a fraction of a millisecond a line.

    folder: where examples' vectors are kept, so that a restart embeds nothing anew.
    """

    def __init__(self, examples: Mapping[str, Examples], embedder: Embeds | None, folder: Path) -> None:
        self._folder = folder
        self._embedder = embedder
        turns = {line: [counts(turn) for turn in found.turns] for line, found in examples.items()}
        systems = {line: [counts(prompt) for prompt in found.system_prompts] for line, found in examples.items()}
        self._weights = rarities(text for texts in turns.values() for text in texts)
        # System prompts are few, so rarity among them tells nothing.
        self._even = np.ones_like(self._weights)
        self._lines = {
            line: Line(
                found,
                Compared(
                    in_half(likeness_of(unit_rows(turns[line], self._weights))),
                    in_half(likeness_of(unit_rows(systems[line], self._even))),
                ),
            )
            for line, found in examples.items()
        }

    @property
    def embedder(self) -> str:
        """Whose vectors take part; "" while words alone are compared."""
        ready = self._embedder is not None and all(line.meaning is not None for line in self._lines.values())
        return self._embedder.name if ready and self._embedder is not None else ""

    @property
    def embedder_name(self) -> str:
        """The embedder that is meant to take part, ready or not; "" without one."""
        return self._embedder.name if self._embedder is not None else ""

    async def prepare(self, took: Took) -> None:
        """Has the examples embedded; until it is done words alone are compared. Raises what the embedder does."""
        if self._embedder is None:
            return
        for name, line in self._lines.items():
            turns = await self._rows(line.examples.turns, took)
            systems = await self._rows(line.examples.system_prompts, took)
            meaning = await asyncio.to_thread(_compared_by, turns, systems)
            self._lines[name] = Line(line.examples, line.words, meaning)

    async def signals(self, call: Call, took: Took, *, local_only: bool = False) -> tuple[TaskSignal, ...]:
        """The signal of every line, in the order of their names. When the embedder fails, by words alone.

        local_only: an embedder at an upstream is not asked.
        """
        prompt = system_prompt((turn.role, turn.text) for turn in call.turns)
        remote = self._embedder is not None and not self._embedder.is_local
        vectors = None if local_only and remote else await self._vectors(call, prompt, took)
        measured = {line: self._measured(line, call, prompt, vectors) for line in sorted(self._lines)}
        embedder = self.embedder if vectors is not None else ""
        return tuple(TaskSignal(line, 0.0, _ahead(line, measured), embedder) for line in measured)

    async def _vectors(self, call: Call, prompt: str, took: Took) -> tuple[Vector, Vector] | None:
        embedder = self._embedder
        if embedder is None or not self.embedder:
            return None
        try:
            turn = await embedder.question(cut_question(call.text), took)
            system = await embedder.question(cut_question(prompt), took) if prompt else turn
            if any(line.meaning and len(line.meaning.turns.by_place) != len(turn) for line in self._lines.values()):
                raise ValueError("the embedder gives vectors of another length than those of the examples")  # noqa: TRY301
        except (GatewayError, ValueError) as fault:
            log.warning("call_not_embedded", extra={"fields": {"embedder": embedder.name, "error": str(fault)[:200]}})
            return None
        return turn, system

    def _measured(self, name: str, call: Call, prompt: str, vectors: tuple[Vector, Vector] | None) -> dict[str, float]:
        line = self._lines[name]
        examples = line.examples
        said = sum(turn.role not in {"system", "developer"} for turn in call.turns)
        turn = compared(counts(call.text), self._weights, line.words.turns)
        system = compared(counts(prompt), self._even, line.words.systems) if prompt else None
        found = {
            "same_system_prompt": float(bool(prompt) and prompt in examples.system_prompts),
            "has_system_prompt": float(bool(prompt)),
            "more_turns": float(said > examples.most_messages),
            "different_format": float(call.wants_json and not examples.answers_json),
            "different_tools": float(call.has_tools is not examples.has_tools),
        }
        found |= _likenesses("words", line.words, turn, system)
        if vectors is not None and line.meaning is not None:
            by_turn = vectors[0] @ line.meaning.turns.by_place
            by_system = vectors[1] @ line.meaning.systems.by_place if prompt else None
            found |= _likenesses("meaning", line.meaning, by_turn, by_system)
        return found

    async def _rows(self, texts: Sequence[str], took: Took) -> Matrix:
        embedder = self._embedder
        if embedder is None:
            raise RuntimeError("no embedder to embed examples with")
        cut = [cut_question(text) for text in texts]
        digest = hashlib.sha256("\0".join((embedder.name, *cut)).encode(errors="replace")).hexdigest()[:32]
        kept = self._folder / f"{digest}.npy"
        if kept.exists():
            # A file that a crash cut short is made anew.
            with contextlib.suppress(ValueError, EOFError):
                read: Matrix = await asyncio.to_thread(np.load, kept, allow_pickle=False)
                return read
        parts = []
        for start in range(0, len(cut), BATCH):
            embedded = await embedder.embed(cut[start : start + BATCH])
            took(embedded.tokens)
            parts.append(embedded.rows)
        rows = np.concatenate(parts)
        await asyncio.to_thread(_keep, kept, rows)
        return rows


def _compared_by(turns: Matrix, systems: Matrix) -> Compared:
    return Compared(likeness_of(turns), likeness_of(systems))


def _likenesses(way: str, line: Compared, turn: Vector, system: Vector | None) -> dict[str, float]:
    nearest = line.turns.nearest(turn)
    return {
        f"system_prompt_{way}": float(system.max()) if system is not None and len(system) else 0.0,
        f"nearest_{way}": nearest,
        f"nearest_{way}_relative": line.turns.relative(nearest),
        f"focus_{way}": nearest * line.turns.typical,
    }


def _ahead(line: str, measured: Mapping[str, dict[str, float]]) -> Evidence:
    """The line's evidence with how far it is ahead of the next best one."""
    found = dict(measured[line])
    for way in ("words", "meaning"):
        if f"nearest_{way}_relative" not in found:
            continue
        others = [_standing(other, way) for name, other in measured.items() if name != line]
        found[f"ahead_{way}"] = _standing(found, way) - max(others, default=0.0)
    return tuple(sorted((name, round(value, 6)) for name, value in found.items()))


def _standing(found: Mapping[str, float], way: str) -> float:
    return found[f"nearest_{way}_relative"] + SYSTEM_PROMPT_SHARE * found[f"system_prompt_{way}"]


def _keep(path: Path, rows: Matrix) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Workers begin together and embed the same; neither may write into the other's file.
    partial = path.with_suffix(f".{os.getpid()}.partial")
    with partial.open("wb") as file:
        np.save(file, rows, allow_pickle=False)
    partial.replace(path)
