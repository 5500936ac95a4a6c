"""Every code there is, by its family."""

from gateway.core.discovery import members
from gateway.tuning.datasets import rules
from gateway.tuning.datasets.faults import Code, Family

FAMILIES: tuple[Family, ...] = tuple(
    family for family in members(rules, "FAMILY").values() if isinstance(family, Family)
)
CODES: dict[str, Code] = {code.id: code for family in FAMILIES for code in sorted(family.codes, key=lambda one: one.id)}


def codes_table() -> str:
    """The codes as Markdown, for docs/fine-tuning/lint-codes.md."""
    lines = []
    for family in sorted(FAMILIES, key=lambda one: one.codes[0].id):
        lines += [f"### {family.title}", "", "| code | severity | what it means | `fix` |", "|---|---|---|---|"]
        for code in sorted(family.codes, key=lambda one: one.id):
            lines.append(f"| {code.id} | {code.severity} | {code.summary} | {'yes' if code.is_fixable else ''} |")
        lines.append("")
    return "\n".join(lines)
