"""A collection's vectors in memory, and what was asked for lately."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from gateway.core.values import Value
from gateway.knowledge.ranking import Ids, Vector, VectorEvidence

Matrix = npt.NDArray[np.float32]
Kept = TypeVar("Kept")

SAMPLE = 64
# Of a sentence embedder's usual cosines; used while a collection is too small to have its own.
USUAL_UNRELATED, USUAL_NEIGHBOURING = 0.2, 0.7
FEWEST_TO_MEASURE = 16


class VectorTable(Value, frozen=True):
    """The vectors of a collection at one version.

    ids: (n,) ascending. rows: (n, dim) float32 of unit length; kept as float32 because numpy multiplies
    float16 some fifty times slower. unrelated, neighbouring: usual cosines of two such chunks.
    """

    version: int
    ids: Ids
    rows: Matrix
    unrelated: float
    neighbouring: float

    def compare(self, question: Vector, permitted: Ids | None = None) -> VectorEvidence:
        """The cosine of each chunk with a question: (dim,) float32 of unit length.

        permitted: ids ascending; the others are left out. None lets all through.
        """
        ids, rows = self.ids, self.rows
        if permitted is not None:
            held = np.isin(ids, permitted, assume_unique=True)
            ids, rows = ids[held], rows[held]
        return VectorEvidence(ids, rows @ question, self.unrelated, self.neighbouring)


def write_table(version: int, ids: Ids, rows: Matrix) -> VectorTable:
    """A table with its usual cosines measured: over all pairs, and of 64 chunks with their nearest."""
    if len(ids) < FEWEST_TO_MEASURE:
        return VectorTable(version, ids, rows, USUAL_UNRELATED, USUAL_NEIGHBOURING)
    centre = rows.mean(axis=0)
    picked = np.linspace(0, len(ids) - 1, num=min(SAMPLE, len(ids)), dtype=np.int64)
    cosines = rows[picked] @ rows.T
    cosines[np.arange(len(picked)), picked] = -1.0
    return VectorTable(version, ids, rows, float(centre @ centre), float(cosines.max(axis=1).mean()))


def refreshed(old: VectorTable | None, version: int, ids: Ids, added: dict[int, bytes]) -> VectorTable:
    """The table of `ids` (ascending): rows kept from `old`, the others from float16 bytes in `added`.

    A chunk's vector never changes under its id, so what is already in memory is not read again.
    """
    kept = np.isin(old.ids, ids) if old is not None else np.empty(0, bool)
    fresh_ids = np.fromiter(sorted(added), np.int64, len(added))
    fresh = np.frombuffer(b"".join(added[int(i)] for i in fresh_ids), np.float16).astype(np.float32)
    parts_ids, parts = [], []
    if old is not None and kept.any():
        parts_ids.append(old.ids[kept])
        parts.append(old.rows[kept])
    if len(fresh_ids):
        parts_ids.append(fresh_ids)
        parts.append(fresh.reshape(len(fresh_ids), -1))
    if not parts:
        return VectorTable(version, ids[:0], np.empty((0, 0), np.float32), 0.0, 0.0)
    all_ids = np.concatenate(parts_ids)
    order = np.argsort(all_ids, kind="stable")
    return write_table(version, all_ids[order], np.concatenate(parts)[order])


class RowCache(Generic[Kept]):
    """What was asked for last, at most `most_rows` rows in all. Safe to share by threads.

    Keys carry the collection's version, so what an edit made stale is never asked for and ages out.
    """

    def __init__(self, most_rows: int = 4_000_000) -> None:
        self._most_rows = most_rows
        self._rows = 0
        self._kept: OrderedDict[Hashable, tuple[Kept, int]] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, key: Hashable) -> Kept | None:
        """What is kept under `key`, or None."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept.move_to_end(key)
            return found[0]

    def keep(self, key: Hashable, value: Kept, rows: int) -> None:
        """Keeps a value of that many rows, and lets the longest unused ones go."""
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = (value, rows + 1)
            self._rows += rows + 1
            while self._rows > self._most_rows and len(self._kept) > 1:
                _, (_, gone) = self._kept.popitem(last=False)
                self._rows -= gone
