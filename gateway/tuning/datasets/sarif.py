"""A report as SARIF 2.1.0, which code hosts and editors show beside the lines it speaks of."""

from gateway.core.values import Value
from gateway.tuning.datasets.faults import Fault
from gateway.tuning.datasets.lint import Report
from gateway.tuning.datasets.registry import CODES

LEVELS = {"error": "error", "warning": "warning", "info": "note"}
SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


class Text(Value, frozen=True):
    """A message."""

    text: str


class Rule(Value, frozen=True):
    """A code."""

    id: str
    shortDescription: Text  # noqa: N815  # SARIF's own name
    defaultConfiguration: dict[str, str]  # noqa: N815  # SARIF's own name


class Finding(Value, frozen=True):
    """A fault."""

    ruleId: str  # noqa: N815  # SARIF's own name
    level: str
    message: Text
    locations: list[dict[str, object]]


def sarif(report: Report, version: str) -> dict[str, object]:
    """The whole log. version: of this gateway."""
    used = dict.fromkeys(fault.code for fault in report.faults)
    rules = [Rule(code, Text(CODES[code].summary), {"level": LEVELS[CODES[code].severity]}) for code in sorted(used)]
    driver = {"name": "gateway datasets lint", "version": version, "rules": rules}
    findings = [_finding(report.name, fault) for fault in report.faults]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": findings}
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _finding(name: str, fault: Fault) -> Finding:
    place: dict[str, object] = {
        "artifactLocation": {"uri": name.replace("\\", "/")},
        "region": {"startLine": fault.line, "startColumn": fault.column},
    }
    level = LEVELS[fault.severity]
    return Finding(fault.code, level, Text(fault.message), [{"physicalLocation": place}])
