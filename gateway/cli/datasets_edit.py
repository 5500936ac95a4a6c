"""`gateway datasets fix|redact|split`: files made of training files. No input is written to unless asked for."""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal

from cyclopts.types import ExistingFile

from gateway.cli.output import print_json, say
from gateway.core.errors import Conflict, InvalidRequest


@contextmanager
def written_whole(path: Path, *, replaces: bool) -> Iterator[BinaryIO]:
    """A file that is there when all of it is written, and not before. Raises Conflict for one that is there already."""
    import os
    import tempfile

    if path.exists() and not replaces:
        raise Conflict(f"{path} is there already; it is not written over without --force.")
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as fault:
        raise InvalidRequest(f"{path}: cannot be written ({fault.strerror}).") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        Path(name).chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def write_rows(out: Path, rows: Iterable[bytes], told: list[Any], *, replaces: bool) -> None:
    """Writes rows, and beside them where they come from. told: filled while the rows are made."""
    from gateway.tuning.datasets.provenance import beside, provenance_lines

    with written_whole(out, replaces=replaces) as file:
        file.writelines(rows)
    # A file of other rows that stood there would lie beside these.
    if told or beside(out).exists():
        with written_whole(beside(out), replaces=True) as file:
            file.writelines(provenance_lines(told))


def _out(file: Path, out: Path | None, suffix: str, *, in_place: bool) -> Path:
    if in_place and out is not None:
        raise InvalidRequest("--in-place and --out say two things; give one.")
    if in_place:
        return file
    made = out or file.with_name(f"{file.stem}.{suffix}{file.suffix}")
    if made.resolve() == file.resolve():
        raise InvalidRequest(f"{made} is the input; --in-place writes over it.")
    return made


def fix(
    file: ExistingFile,
    *,
    out: Path | None = None,
    in_place: bool = False,
    force: bool = False,
    dedupe: bool = False,
    target: Literal["openai", "azure", "together", "fireworks", "local"] = "openai",
    method: Literal["supervised", "dpo", "reinforcement"] = "supervised",
    json: bool = False,
) -> None:
    """Mends what can be mended without guessing, into FILE.fixed.jsonl, and says how often each code was.

    in_place: writes over the input. force: over an output that is there. dedupe: drops rows that repeat one before.
    What is left is for you: run lint on the result.
    """
    from gateway.tuning.datasets.fixing import Fixing
    from gateway.tuning.datasets.provenance import read_provenance, row_hash
    from gateway.tuning.datasets.registry import CODES
    from gateway.tuning.datasets.targets import target_of

    made = _out(file, out, "fixed", in_place=in_place)
    known, told = read_provenance(file), []
    fixing = Fixing(target_of(target), method, drops_duplicates=dedupe)

    def rows(lines: Iterable[bytes]) -> Iterator[bytes]:
        for one in fixing.rows(lines):
            origin = known.get(row_hash(one.before)) if known and one.before is not None else None
            if origin is not None:
                told.append(origin if one.after == one.before else origin.after(row_hash(one.after), "fix"))
            yield one.line

    with file.open("rb") as lines:
        write_rows(made, rows(lines), told, replaces=in_place or force)
    changes = {code: count for code, count in sorted(fixing.changes.items()) if count}
    if json:
        print_json({"out": str(made), "changes": changes, "unread": fixing.unread})
        return
    for code, count in changes.items():
        say(f"{code} {count} times: {CODES[code].summary}")
    left = f" {fixing.unread} lines were kept as they are: they cannot be read." if fixing.unread else ""
    say(f"{made} is written." + ("" if changes else " Nothing was to be mended.") + left)


def redact(
    file: ExistingFile, *, out: Path | None = None, in_place: bool = False, force: bool = False, json: bool = False
) -> None:
    """Replaces secrets and personal data by pseudonyms such as <EMAIL_1>, into FILE.redacted.jsonl.

    The same value has the same pseudonym within a row; which was whose is written nowhere. Names of people have no
    form and stay. A line that cannot be read is refused, as nobody could say what is in it.
    """
    from gateway.tuning.datasets.mended_rows import written
    from gateway.tuning.datasets.provenance import read_provenance, row_hash
    from gateway.tuning.datasets.redaction import redacted

    made = _out(file, out, "redacted", in_place=in_place)
    known, told = read_provenance(file), []
    counts: Counter[Any] = Counter()

    def rows() -> Iterator[bytes]:
        for raw, data in _readable(file):
            after = redacted(data, counts)
            origin = known.get(row_hash(data)) if known else None
            if origin is not None:
                told.append(origin.after(row_hash(after), "redact"))
            yield raw if after is data else written(after)

    write_rows(made, rows(), told, replaces=in_place or force)
    if json:
        print_json({"out": str(made), "replaced": dict(counts)})
        return
    say(", ".join(f"{count} {kind}" for kind, count in counts.most_common()) or "Nothing was to be replaced.")
    say(f"{made} is written.")


def split(
    file: ExistingFile,
    *,
    share: float = 0.1,
    seed: int = 0,
    train: Path | None = None,
    validation: Path | None = None,
    force: bool = False,
    json: bool = False,
) -> None:
    """Parts a file into FILE.train.jsonl and FILE.validation.jsonl; what belongs together stays on one side.

    Rows belong together by the `group` of their provenance, or else by their first user turn; the same prompt and
    near-duplicates join. share: of the rows, for validation; one row at least. The same file, share and seed give the
    same two files.
    """
    from gateway.tuning.datasets.provenance import read_provenance, row_hash
    from gateway.tuning.datasets.rows import read_row
    from gateway.tuning.datasets.splitting import Groups, for_validation

    if not 0 < share < 1:
        raise InvalidRequest(f"--share is {share:g}; it must be above 0 and below 1.")
    paths = [
        train or file.with_name(f"{file.stem}.train{file.suffix}"),
        validation or file.with_name(f"{file.stem}.validation{file.suffix}"),
    ]
    known = read_provenance(file)
    groups = Groups(known)
    for number, (_, data) in enumerate(_readable(file), 1):
        groups.add(read_row(number, "", data))
    found = groups.found()
    sides = for_validation(found, share, seed)
    for is_validation, path in enumerate(paths):
        told = [
            origin
            for side, (_, data) in zip(sides, _readable(file), strict=True)
            if side == is_validation and (origin := known.get(row_hash(data))) is not None
        ]
        rows = (raw for side, (raw, _) in zip(sides, _readable(file), strict=True) if side == is_validation)
        write_rows(path, rows, told, replaces=force)
    held = sum(sides)
    if json:
        sizes = {"rows": len(sides), "train_rows": len(sides) - held, "validation_rows": held}
        print_json({"train": str(paths[0]), "validation": str(paths[1]), "groups": len(set(found)), **sizes})
        return
    say(f"{len(sides)} rows in {len(set(found))} groups: {len(sides) - held} to {paths[0]}, {held} to {paths[1]}.")


def _readable(file: Path) -> Iterator[tuple[bytes, Any]]:
    """(the line with its end, its object) of every row. Raises UnreadableDocument, after all faults are said."""
    from gateway.core.errors import UnreadableDocument
    from gateway.tuning.datasets.jsonl import read_lines
    from gateway.tuning.datasets.mended_rows import written
    from gateway.tuning.datasets.rows import is_object

    unread = 0
    with file.open("rb") as lines:
        for line in read_lines(lines):
            if line.is_blank:
                continue
            if not is_object(line.data):
                unread += 1
                for fault in line.faults:
                    sys.stderr.write(f"{file}:{line.number}:{fault.column} {fault.code} {fault.message}\n")
                continue
            yield (line.text.strip().encode() + b"\n" if line.text else written(line.data)), line.data
    if unread:
        raise UnreadableDocument(
            f"{file}: {unread} lines cannot be read as rows; `gateway datasets fix` may mend some."
        )
