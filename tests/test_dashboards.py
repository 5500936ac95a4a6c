"""Every query of the dashboard and of the alert rules, run by a real Prometheus over a sample of /metrics."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from gateway.metrics.instruments import Instruments
from tests.fakes.exposition import CONTRACT, sample_exposition
from tests.fakes.prometheus import BINARY, PROMTOOL, Prometheus, prometheus_over

DEPLOY = Path(__file__).parents[1] / "deploy"
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
ALERTS = DEPLOY / "prometheus" / "alerts.yml"

needs_prometheus = pytest.mark.skipif(BINARY is None, reason="prometheus is not installed; names are checked alone")

# What Grafana puts in place of its variables.
VARIABLES = {"$__rate_interval": "30s", "$__range": "1m", "$__interval": "30s", "$team": ".*"}
_METRIC = re.compile(r"\bgateway_\w+")
_LABELS = re.compile(r"\bby \(([^)]*)\)|(\w+)\s*(?:=~|!~|!=|=)\s*\"")


def dashboard_queries(dashboard: dict[str, Any]) -> list[tuple[str, str]]:
    """(panel, expression) of each panel's target and each annotation, with Grafana's variables filled in."""
    found = [(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel.get("targets", ())]
    found += [(note["name"], note["expr"]) for note in dashboard["annotations"]["list"]]
    return [(title, _filled(expression)) for title, expression in found]


def alert_queries() -> list[tuple[str, str]]:
    """(alert, expression) of each rule."""
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [(rule["alert"], rule["expr"]) for group in groups for rule in group["rules"]]


def _filled(expression: str) -> str:
    for name in sorted(VARIABLES, key=len, reverse=True):
        expression = expression.replace(name, VARIABLES[name])
    assert "$" not in expression, f"a variable that this test does not know: {expression}"
    return expression


def _boards() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in DASHBOARDS]


QUERIES = [query for board in _boards() for query in dashboard_queries(board)] + alert_queries()
IDS = [title for title, _ in QUERIES]


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with prometheus_over(sample_exposition, tmp_path_factory.mktemp("prometheus"), ALERTS) as running:
        yield running


@needs_prometheus
@pytest.mark.parametrize(("title", "expression"), QUERIES, ids=IDS)
def test_every_query_gives_numbers(prometheus: Prometheus, title: str, expression: str) -> None:
    """A query with a misspelt name or label is not an error to Prometheus: it is an empty panel."""
    series = prometheus.query(expression)
    assert series, f"{title}: {expression} is empty"
    assert all(one["value"][1] not in ("NaN", "+Inf", "-Inf") for one in series), f"{title}: {series}"


@needs_prometheus
def test_every_alert_rule_is_evaluated_without_a_fault(prometheus: Prometheus) -> None:
    groups = prometheus.get("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == len(alert_queries())
    assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] == "err"] == []


@pytest.mark.parametrize(("title", "expression"), QUERIES, ids=IDS)
def test_every_query_uses_only_names_and_labels_of_the_contract(title: str, expression: str) -> None:
    """Also without a Prometheus: the names against the text that a scrape would see."""
    known = {metric.name: set(metric.labels[0]) for metric in CONTRACT}
    names = {re.sub(r"_bucket$", "", name) for name in _METRIC.findall(expression)}
    assert names <= known.keys(), title
    assert names or expression.startswith("up"), title
    if names:
        allowed = set().union(*(known[name] for name in names)) | {"le"}
        asked = {label.strip() for by, one in _LABELS.findall(expression) for label in (by or one).split(",")}
        assert asked <= allowed, f"{title}: {sorted(asked - allowed)}"


def test_the_sample_shows_every_metric_of_the_contract_and_of_the_product() -> None:
    text = sample_exposition(1).decode()
    registry = CollectorRegistry()
    Instruments(registry)
    made = {family.name + ("_total" if family.type == "counter" else "") for family in registry.collect()}
    assert made <= {metric.name for metric in CONTRACT}
    assert all(f"\n{metric.name}" in text for metric in CONTRACT)


def test_panels_do_not_overlap_and_every_one_names_the_provisioned_source() -> None:
    source = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text())
    uid = source["datasources"][0]["uid"]
    for board in _boards():
        taken: set[tuple[int, int]] = set()
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
        for panel in board["panels"]:
            at = panel["gridPos"]
            cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
            assert not cells & taken, panel["title"]
            assert at["x"] + at["w"] <= 24, panel["title"]
            taken |= cells
            assert all(target["datasource"]["uid"] == uid for target in panel.get("targets", ())), panel["title"]


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
def test_promtool_accepts_the_shipped_configuration() -> None:
    """It also checks the templates in the annotations, which no query runs."""
    done = subprocess.run(
        [str(PROMTOOL), "check", "config", str(DEPLOY / "prometheus" / "prometheus.yml")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
