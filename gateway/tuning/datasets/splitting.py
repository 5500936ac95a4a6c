"""Parts a file into training and validation by groups: what belongs together stays on one side."""

import hashlib
from array import array
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence

from gateway.core.errors import InvalidRequest
from gateway.tuning.datasets.digests import canonical, digest, gist, group_digest, turns_digest
from gateway.tuning.datasets.provenance import Provenance, row_hash
from gateway.tuning.datasets.rows import Row
from gateway.tuning.datasets.sketches import Sketches

# A group may make the validation part this much larger than asked.
OVER = 1.2


class Groups:
    """The group of each row, some 300 bytes a row: its provenance's, or by its own words; near-duplicates join."""

    def __init__(self, provenance: Mapping[str, Provenance]) -> None:
        self._provenance = provenance
        self._group = array("Q")
        self._sketches = Sketches()
        # What a later row may share with an earlier: group, prompt, first user turn. Each leads to one row.
        self._by_key: dict[Hashable, int] = {}
        self._parent = array("L")

    def add(self, row: Row, also: Iterable[Hashable] = ()) -> None:
        """Takes the next row. also: what else joins it to rows that share one of them."""
        number = len(self._parent)
        self._parent.append(number)
        self._sketches.add(gist(row))
        known = self._provenance.get(row_hash(row.data)) if self._provenance else None
        keys: list[Hashable] = [turns_digest(row.prompt), digest(canonical(row.data)), *also]
        # Where somebody has said what belongs together, the first words need not be asked.
        if known is not None and known.group:
            keys.append(digest(b"group\0" + known.group.encode()))
        else:
            keys.append(group_digest(row))
        for key in keys:
            self._join(self._by_key.setdefault(key, number), number)

    def found(self) -> list[int]:
        """A number for each row, in order; rows of one group share it."""
        for one, other, _ in self._sketches.alike():
            self._join(one, other)
        return [self._root(number) for number in range(len(self._parent))]

    def _join(self, one: int, other: int) -> None:
        first, second = sorted((self._root(one), self._root(other)))
        self._parent[second] = first

    def _root(self, number: int) -> int:
        while self._parent[number] != number:
            self._parent[number] = self._parent[self._parent[number]]
            number = self._parent[number]
        return number


def for_validation(groups: Sequence[int], share: float, seed: int) -> list[bool]:
    """For each row whether it is for validation: about `share` of the rows, one at least, never a group in both.

    The same groups and seed give the same answer. Raises InvalidRequest when all rows are one group.
    """
    sizes = Counter(groups)
    if len(sizes) < 2:
        raise InvalidRequest(f"All {len(groups)} rows belong together; they cannot be parted without leakage.")
    wanted = max(1, round(share * len(groups)))
    taken: set[int] = set()
    count = 0
    for group in sorted(sizes, key=lambda group: _rank(group, seed)):
        if count < wanted and count + sizes[group] <= max(wanted * OVER, 1) and len(taken) < len(sizes) - 1:
            taken.add(group)
            count += sizes[group]
    if not taken:
        taken.add(min(sizes, key=lambda group: (sizes[group], _rank(group, seed))))
    return [group in taken for group in groups]


def _rank(group: int, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}:{group}".encode(), digest_size=8).digest()
