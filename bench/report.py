"""bench/results.json, and the section of bench/README.md that is written from it."""

import json
from pathlib import Path
from typing import Any

from bench.result import Aim, Result

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
README = HERE / "README.md"
BEGIN = "<!-- figures: written by python -m bench -->"
END = "<!-- end of figures -->"


def keep(name: str, title: str, taken: dict[str, str], result: Result) -> None:
    """Puts one figure into results.json; the others stay as they were taken."""
    kept = read()
    kept[name] = {
        "title": title,
        "taken": taken,
        "columns": list(result.columns),
        "rows": result.rows,
        "aims": [{"aim": aim.aim, "got": aim.got, "met": aim.met, "why": aim.why} for aim in result.aims],
        "notes": result.notes,
        "skipped": result.skipped,
        "numbers": result.numbers,
    }
    RESULTS.write_text(json.dumps(kept, indent=1, default=str) + "\n")


def read() -> dict[str, Any]:
    """All figures kept so far."""
    if not RESULTS.exists():
        return {}
    found: dict[str, Any] = json.loads(RESULTS.read_text())
    return found


def write_readme(order: list[str]) -> None:
    """The section between the two marks, anew."""
    text = README.read_text()
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    README.write_text(f"{head}{BEGIN}\n\n{section(order)}\n{END}{tail}")


def section(order: list[str]) -> str:
    """All figures as Markdown: the aims first, then each figure's table."""
    kept = read()
    names = [name for name in order if name in kept]
    lines = ["### Aims", "", "| figure | aim | got | |", "|---|---|---|---|"]
    for name in names:
        for aim in (Aim(**found) for found in kept[name]["aims"]):
            lines.append(f"| {name} | {_cell(aim.aim)} | {_cell(aim.got)} | {_cell(verdict(aim))} |")
        if kept[name]["skipped"]:
            lines.append(f"| {name} | | | skipped: {_cell(kept[name]['skipped'])} |")
    for name in names:
        lines += ["", *_figure(name, kept[name])]
    return "\n".join(lines) + "\n"


def _figure(name: str, found: dict[str, Any]) -> list[str]:
    taken = found["taken"]
    lines = [f"### {name}: {found['title']}", ""]
    lines.append(f"{taken['at']}, `{taken['command']}`. {taken['machine']}. {taken['versions']}.")
    lines.append("")
    if found["skipped"]:
        return [*lines, f"Skipped: {found['skipped']}."]
    lines.append("| " + " | ".join(_cell(column) for column in found["columns"]) + " |")
    lines.append("|---" * len(found["columns"]) + "|")
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in found["rows"]]
    for note in found["notes"]:
        lines += ["", note]
    return lines


def verdict(aim: Aim) -> str:
    """An aim's outcome in words."""
    word = {True: "met", False: "**missed**", None: "cannot be said here"}[aim.met]
    return f"{word}: {aim.why}" if aim.why else word


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")
