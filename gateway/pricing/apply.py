"""Taking new entries into prices.yaml: the old ones end the day before, and what people wrote there stays."""

import os
from datetime import date, timedelta
from pathlib import Path

from gateway.core.document import Document, read_document, validate
from gateway.core.errors import BadConfiguration
from gateway.core.values import Value
from gateway.pricing.overlay import Price, PriceOverlay

ENTRIES = "prices:"
INDENT = "  "


class Closed(Value, frozen=True):
    """An entry that was in force and now ends: its models, its line in the file as it was, and its last day."""

    models: tuple[str, ...]
    line: int
    last_day: date


class Applied(Value, frozen=True):
    """What taking a file in did. text: the whole file afterwards. added: models of the new entries."""

    text: str
    added: tuple[str, ...]
    closed: tuple[Closed, ...]


def apply_file(path: Path, incoming: str, name: str = "the new prices", *, is_dry_run: bool = False) -> Applied:
    """Takes the entries of `incoming` into the file at `path`, which is replaced as a whole or not at all.

    Raises BadConfiguration for what `applied` refuses, and for a file that cannot be written.
    """
    done = applied(prices_text(path), incoming, path.name, name)
    try:
        if not is_dry_run:
            fresh = path.with_suffix(".yaml.new")
            with fresh.open("w", encoding="utf-8") as file:
                file.write(done.text)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
    except OSError as fault:
        raise BadConfiguration([f"{path.name}: cannot be written ({type(fault).__name__})."]) from None
    return done


def prices_text(path: Path) -> str:
    """The file as it stands, '' when there is none. Raises BadConfiguration when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8") if path.exists() else ""
    except (OSError, UnicodeDecodeError) as fault:
        raise BadConfiguration([f"{path.name}: cannot be read ({type(fault).__name__})."]) from None


def applied(before: str, incoming: str, before_name: str, incoming_name: str) -> Applied:
    """The text of the file with the new entries at its end, each old one of the same model and provider closed.

    Raises BadConfiguration when a new entry has no `from`, when an old one begins on the same day or later, or ends
    later than a new one that ends, and when an old one also prices other models: its end would take their price too.
    """
    old_document, new_document = read_document(before, before_name), read_document(incoming, incoming_name)
    old, new = validate(old_document, PriceOverlay), validate(new_document, PriceOverlay)
    if not new.prices:
        raise BadConfiguration([f"{incoming_name}:1:1: it has no entries under `prices:`."])
    ends: dict[int, date] = {}
    faults: list[str] = []
    for number, price in enumerate(new.prices):
        place = new_document.at(("prices", number))
        if price.first_day is None:
            faults.append(f"{place}: an entry to apply needs its first day: `from: 2026-12-01`.")
            continue
        for index, known in enumerate(old.prices):
            if known.provider == price.provider and set(known.models) & set(price.models):
                fault = _end(known, price, price.first_day, new.prices, old_document.at(("prices", index)))
                if fault:
                    faults.append(f"{place}: {fault}")
                elif known.last_day is None or known.last_day >= price.first_day:
                    ends[index] = min(ends.get(index, date.max), price.first_day - timedelta(days=1))
    if faults:
        raise BadConfiguration(faults)
    text = _closed(before, old_document, ends) + _appended(before, incoming, new_document, len(new.prices))
    _proven(text, before_name, old, new, ends)
    closed = [Closed(old.prices[i].models, _line(old_document, i), day) for i, day in sorted(ends.items())]
    return Applied(text, tuple(model for price in new.prices for model in price.models), tuple(closed))


def _end(known: Price, price: Price, first_day: date, new: tuple[Price, ...], at: str) -> str:
    """Why an entry cannot give way to a new one; '' when it can."""
    if known.last_day is not None and known.last_day < first_day:
        return ""
    if known.first_day is not None and known.first_day >= first_day:
        if price.last_day is not None and price.last_day < known.first_day:
            return ""
        return f"it overlaps the entry at {at}, which begins on {known.first_day}; remove that one first."
    if price.last_day is not None and (known.last_day is None or known.last_day > price.last_day):
        return f"it ends on {price.last_day} and the entry at {at} goes on after that; write what holds then too."
    together = {m for one in new if one.provider == price.provider and one.first_day == first_day for m in one.models}
    left = [model for model in known.models if model not in together]
    if left:
        return f"the entry at {at} also prices {left[0]!r}; price it here too, or give it an entry of its own there."
    return ""


def _line(document: Document, index: int) -> int:
    return document.marks["prices", index][0]


def _closed(before: str, document: Document, ends: dict[int, date]) -> str:
    """The file with `to:` in these entries. Bottom up: a line that comes in moves only what is below it."""
    lines = before.splitlines(keepends=True)
    for index in sorted(ends, key=lambda index: document.marks["prices", index], reverse=True):
        day, known = ends[index], document.marks.get(("prices", index, "to"))
        # Every entry has these two, and only one of them can be its first key.
        marks = [known] if known else [document.marks["prices", index, key] for key in ("source", "read_on")]
        for line, column in (mark for mark in marks if mark is not None):
            if lines[line - 1][: column - 1].strip():
                continue
            if known:
                lines[line - 1] = f"{' ' * (column - 1)}to: {day}{_comment(lines[line - 1])}\n"
            else:
                lines.insert(line - 1, f"{' ' * (column - 1)}to: {day}\n")
            break
        else:
            raise BadConfiguration(
                [f"{document.at(('prices', index))}: write this entry a key to a line, to close it."]
            )
    text = "".join(lines)
    return text if not text or text.endswith("\n") else text + "\n"


def _comment(line: str) -> str:
    comment = line.rstrip("\n").partition(" #")
    return comment[1] + comment[2]


def _appended(before: str, incoming: str, document: Document, count: int) -> str:
    """The new entries as they were written, with their comments, indented as a block."""
    lines = incoming.splitlines()
    starts = [document.marks["prices", index] for index in range(count)]
    found = [] if any(line.rstrip() == ENTRIES for line in before.splitlines()) else [ENTRIES]
    for number, (line, column) in enumerate(starts):
        dash = lines[line - 1][: column - 1]
        if dash.strip() != "-":
            at = document.at(("prices", number))
            raise BadConfiguration([f"{at}: begin each entry with `- ` on a line of its own."])
        depth = len(dash) - len(dash.lstrip())
        end = starts[number + 1][0] - 1 if number + 1 < count else len(lines)
        found.append("")
        for one in lines[line - 1 : end]:
            outside = one.strip() and len(one) - len(one.lstrip()) < depth
            found.append(f"{INDENT}{one.strip() if outside else one[depth:]}".rstrip())
    return "\n".join(found).rstrip("\n") + "\n"


def _proven(text: str, name: str, old: PriceOverlay, new: PriceOverlay, ends: dict[int, date]) -> None:
    """Raises BadConfiguration unless the text says what was meant and nothing else."""
    after = validate(read_document(text, name), PriceOverlay).prices
    meant = [
        price.model_copy(update={"last_day": ends[index]}) if index in ends else price
        for index, price in enumerate(old.prices)
    ]
    if list(after) != [*meant, *new.prices]:
        raise BadConfiguration([f"{name}:1:1: it is not written as one block under `prices:`; edit it by hand."])
