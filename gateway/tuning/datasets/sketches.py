"""Near-duplicates without holding the texts: a MinHash signature of 192 bytes for each, compared in bands.

A text is the set of its runs of five bytes. The share of equal places in two signatures estimates how much of
their sets is shared (Jaccard), with a standard deviation of 0.06 at the threshold.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

PLACES = 48
BAND = 4
RUN = 5
_WINDOW = 8
_MASK = np.uint64(2 ** (8 * RUN) - 1)
# Of a longer text the lowest hashes stand for all; they are chosen by content, so like texts choose alike.
MOST_RUNS = 128
ALIKE = 0.85

Signature = npt.NDArray[np.uint32]

_chance = np.random.default_rng(20_260_118)
# Odd factors permute the hashes; each place of a signature is the least under its own permutation.
_FACTORS = (_chance.integers(1, 2**31, PLACES, dtype=np.uint32) * 2 + 1)[:, None]
_SHIFTS = _chance.integers(0, 2**32, PLACES, dtype=np.uint32)[:, None]


def normal(text: str) -> bytes:
    """The text without what does not tell texts apart: case, and how much space there is."""
    return " ".join(text.lower().split()).encode("utf-8", "replace")


def signature(text: bytes) -> Signature:
    """(48,) uint32. A text of fewer than five bytes is one run of its own."""
    # Read eight bytes at a time at every place, of which five are kept.
    padded = text.ljust(RUN, b"\0") + b"\0" * (_WINDOW - RUN)
    runs = np.ndarray((len(padded) - _WINDOW + 1,), "<u8", padded, strides=(1,))
    hashed = (runs & _MASK) * np.uint64(0x9E3779B97F4A7C15)
    hashed ^= hashed >> np.uint64(29)
    hashed *= np.uint64(0xBF58476D1CE4E5B9)
    kept = (hashed >> np.uint64(32)).astype(np.uint32)
    if len(kept) > MOST_RUNS:
        kept.partition(MOST_RUNS)
        kept = kept[:MOST_RUNS]
    return np.asarray((kept * _FACTORS + _SHIFTS).min(axis=1), np.uint32)


class Sketches:
    """Signatures by their number, 192 bytes each."""

    def __init__(self) -> None:
        self._held = bytearray()

    def add(self, text: bytes) -> None:
        """Appends one."""
        self._held += signature(text).tobytes()

    def __len__(self) -> int:
        return len(self._held) // (4 * PLACES)

    def alike(self) -> Iterator[tuple[int, int, float]]:
        """(earlier, later, likeness) for each text that is much like an earlier one, ascending by the later.

        Texts that share a band are compared with the first of them and with their neighbour, not each with each: one
        template in ten thousand rows would be fifty million pairs. A text is told once, with the most alike.
        """
        rows = np.frombuffer(self._held, np.uint32).reshape(-1, PLACES)
        best: dict[int, tuple[int, float]] = {}
        for start in range(0, PLACES, BAND):
            for earlier, later in _candidates(rows[:, start : start + BAND]):
                shares = (rows[earlier] == rows[later]).mean(axis=1)
                for place in np.flatnonzero(shares >= ALIKE):
                    one, other, share = int(earlier[place]), int(later[place]), float(shares[place])
                    if share > best.get(other, (0, 0.0))[1]:
                        best[other] = (one, share)
        for later_row in sorted(best):
            yield best[later_row][0], later_row, best[later_row][1]


def _candidates(band: Signature) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Pairs of rows with the same band, as two arrays of row numbers; a piece at a time, so that memory stays small."""
    keys = np.ascontiguousarray(band).view("<u8")
    mixed = keys[:, 0] * np.uint64(0x9E3779B97F4A7C15) ^ keys[:, 1]
    order = np.argsort(mixed, kind="stable")
    same = mixed[order[1:]] == mixed[order[:-1]]
    later = np.flatnonzero(same) + 1
    if not len(later):
        return
    starts = np.maximum.accumulate(np.where(np.concatenate(([False], same)), 0, np.arange(len(order))))
    for at in range(0, len(later), 4096):
        piece = later[at : at + 4096]
        yield order[piece - 1], order[piece]
        yield order[starts[piece]], order[piece]
