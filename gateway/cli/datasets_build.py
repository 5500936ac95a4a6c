"""`gateway datasets build`: a training file from tickets, tables or feedback."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.types import ExistingFile

from gateway.cli.datasets_ledger import NO_CALLS, Calls, build_from_ledger
from gateway.cli.output import print_json, say
from gateway.core.errors import InvalidRequest


@Parameter(name="*")
@dataclass(frozen=True)
class Fields:
    """Which columns or fields of csv, jsonl and pairs hold what; common names are found without."""

    question: str = ""
    answer: str = ""
    rejected: str = ""
    id: str = ""
    group: str = ""
    created: str = ""
    status: str = ""


NOTHING_NAMED = Fields()


def build(
    file: ExistingFile | None = None,
    out: Path | None = None,
    *,
    from_: Annotated[Literal["ledger"] | None, Parameter(name="--from")] = None,
    calls: Calls = NO_CALLS,
    source: Literal["csv", "jsonl", "zendesk", "freshdesk", "pairs"] | None = None,
    fields: Fields = NOTHING_NAMED,
    system: str = "",
    only_resolved: bool = False,
    min_chars: int = 1,
    max_chars: int | None = None,
    dedupe: bool = True,
    redact: bool = True,
    limit: int | None = None,
    seed: int = 0,
    force: bool = False,
    json: bool = False,
) -> None:
    """Makes a training file of tickets, and beside it where each row comes from (OUT.provenance.jsonl).

    source: what FILE is; by its ending csv or jsonl when not given. pairs: feedback as prompt, chosen and rejected,
    for DPO. system: the system prompt of every row; write the one that calls will send. only_resolved: of tickets
    whose status says so. min_chars, max_chars: of an answer. limit: so many rows, drawn by seed. Secrets and personal
    data are replaced unless --no-redact. The same file and options give the same bytes.

    from: of `ledger` the rows are captured calls of --team (of its --line, --since a day), without errors, answers that
    were cut off, that came from documents or that were said to be bad; corrections stand in their place. --method dpo:
    pairs of answers of which it was said which is better.
    """
    if from_ == "ledger":
        build_from_ledger(out, calls, redact=redact, force=force, json=json)
        return
    if file is None or out is None:
        raise InvalidRequest("Name the file to read and the file to write: gateway datasets build FILE OUT.")
    from gateway.cli.datasets_edit import write_rows
    from gateway.tuning.datasets.exchanges import Building, Options
    from gateway.tuning.datasets.exports.columns import Columns
    from gateway.tuning.datasets.mended_rows import written
    from gateway.tuning.datasets.provenance import dataset_hash

    kind = source or ("csv" if file.suffix.lower() in {".csv", ".tsv"} else "jsonl")
    named = Columns(
        fields.question, fields.answer, fields.id, fields.group, fields.created, fields.status, fields.rejected
    )
    origin = f"{kind}:{file.name}"
    building = Building(Options(origin, system, only_resolved, min_chars, max_chars, dedupe, redact, limit, seed))
    made = list(building.rows(_exchanges(kind, file, named)))
    rows = [one.row for one in made]
    write_rows(out, map(written, rows), [one.provenance for one in made], replaces=force)
    hashed = dataset_hash(rows)
    if json:
        left, replaced = dict(building.left_out), dict(building.replaced)
        print_json({"out": str(out), "rows": len(rows), "hash": hashed, "left_out": left, "replaced": replaced})
        return
    _tell(building, redacted=redact)
    say(f"{out}: {len(rows)} rows, {hashed}. Next: gateway datasets lint {out}")


def _tell(building: Any, *, redacted: bool) -> None:
    for why, count in building.left_out.most_common():
        say(f"{count} left out: {why}.")
    if redacted:
        replaced = ", ".join(f"{count} {kind}" for kind, count in building.replaced.most_common())
        say(f"Replaced: {replaced or 'nothing'}. Names of people have no form and stay.")


def _exchanges(kind: str, file: Path, columns: Any) -> Iterator[Any]:
    from gateway.tuning.datasets.exports.columns import read_csv, read_fields, read_pairs
    from gateway.tuning.datasets.exports.freshdesk import read_freshdesk
    from gateway.tuning.datasets.exports.zendesk import read_zendesk

    if kind in {"zendesk", "freshdesk"}:
        return read_zendesk(file) if kind == "zendesk" else read_freshdesk(file)
    return {"csv": read_csv, "jsonl": read_fields, "pairs": read_pairs}[kind](file, columns)
