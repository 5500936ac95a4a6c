"""Where a dataset's rows come from: told beside the file, never in it, for a trainer would learn it."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from gateway.core.errors import BadConfiguration
from gateway.core.values import Value
from gateway.tuning.datasets.digests import canonical

SUFFIX = ".provenance.jsonl"


class Provenance(Value, frozen=True, omit_defaults=True):
    """Where one row comes from. row: 16 hex digits of the SHA-256 of its canonical form.

    source: what it was read from; id: its name there; group: what belongs together there, such as a conversation.
    transforms: what was done to it, in order. created_at: of the exchange, as the source writes it.
    """

    row: str
    source: str = ""
    id: str = ""
    group: str = ""
    transforms: tuple[str, ...] = ()
    created_at: str = ""

    def after(self, row: str, transform: str) -> "Provenance":
        """The same of a row that `transform` made of this one."""
        done = self.transforms if transform in self.transforms else (*self.transforms, transform)
        return msgspec.structs.replace(self, row=row, transforms=done)


def dataset_hash(rows: Iterable[object]) -> str:
    """`ds-` and 16 hex digits of the SHA-256 over the rows' canonical JSONL: a dataset's name by its content."""
    hashed = hashlib.sha256()
    for row in rows:
        hashed.update(canonical(row) + b"\n")
    return f"ds-{hashed.hexdigest()[:16]}"


def row_hash(row: object) -> str:
    """16 hex digits of the SHA-256 of the row's canonical form."""
    return hashlib.sha256(canonical(row)).hexdigest()[:16]


def beside(file: Path) -> Path:
    """Where the provenance of `file` stands."""
    return file.with_name(file.name + SUFFIX)


def read_provenance(file: Path) -> Mapping[str, Provenance]:
    """What stands beside `file`, by row; empty when nothing does. Raises BadConfiguration for what is not readable."""
    path = beside(file)
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return {}
    except OSError as fault:
        raise BadConfiguration([f"{path}: cannot be read ({fault.strerror})."]) from None
    faults, found = [], {}
    decoder = msgspec.json.Decoder(Provenance)
    for number, line in enumerate(lines, 1):
        try:
            one = decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
            faults.append(f"{path}:{number}:1: no provenance: {fault}.")
            continue
        found[one.row] = one
    if faults:
        raise BadConfiguration(faults[:20])
    return found


def provenance_lines(found: Iterable[Provenance]) -> Iterator[bytes]:
    """As lines of the file beside."""
    for one in found:
        yield msgspec.json.encode(one) + b"\n"
