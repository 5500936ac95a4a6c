"""An editor that reads our schemas refuses what the gateway refuses by its form, and nothing that it takes."""

import re
from datetime import date, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from gateway.cli.policy_schema import schemas
from gateway.core.document import read_document
from gateway.policy.routing_file import CONDITIONS
from gateway.policy.signals_file import BUILT_IN
from tests.fakes.rulebook import KNOWLEDGE, MODELS, SAMPLES

SCHEMAS = schemas()
RULE = "rules: [{name: r, %s}]"


def faults(name: str, text: str | bytes) -> list[str]:
    validator = jsonschema.Draft202012Validator(SCHEMAS[name])
    return [fault.message for fault in validator.iter_errors(as_text(read_document(text, name).data))]


def as_text(data: Any) -> Any:
    """Dates as an editor reads them."""
    if isinstance(data, (date, datetime)):
        return data.isoformat()
    if isinstance(data, dict):
        return {key: as_text(value) for key, value in data.items()}
    return [as_text(value) for value in data] if isinstance(data, list) else data


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_file_has_a_schema_of_the_draft_that_it_names(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])
    assert SCHEMAS[name]["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert SCHEMAS[name]["title"] == f"policies/{name}.yaml"


@pytest.mark.parametrize(
    ("folder", "name"),
    [(folder, name) for folder in SAMPLES for name in SCHEMAS if (folder / f"{name}.yaml").exists()],
)
def test_what_we_ship_is_as_its_schema_says(folder: Path, name: str) -> None:
    assert faults(name, (folder / f"{name}.yaml").read_bytes()) == []


def test_the_files_of_the_tests_and_the_built_in_weights_are_too() -> None:
    assert faults("models", MODELS) == []
    assert (
        faults("knowledge", KNOWLEDGE + "embedders: {a: {upstream: main, model: m}, b: {kind: onnx, path: x}}\n") == []
    )
    assert faults("signals", BUILT_IN.read_bytes()) == []
    assert faults("teams", "teams: {a: {title: A, monthly_budget_usd: 12.5}, b: {}}") == []


@pytest.mark.parametrize("key", CONDITIONS)
def test_each_condition_is_taken_as_its_example_writes_it(key: str) -> None:
    assert faults("routing", RULE.replace("%s", f"when: {{{CONDITIONS[key].example}}}, refuse: x")) == []


@pytest.mark.parametrize("when", ["team: a", "team: [a, b]", "endpoint: chat", "model: auto", "language: de"])
def test_a_single_word_stands_for_a_list_of_one(when: str) -> None:
    assert (
        faults("routing", RULE.replace("%s", f"when: {{{when}, any: [{{{when}}}], not: {{{when}}}}}, refuse: x")) == []
    )


@pytest.mark.parametrize(
    "rule",
    [
        "when: {moon: full}, refuse: x",
        "when: {team: []}, refuse: x",
        "when: {team: {a: b}}, refuse: x",
        "when: {team: }, refuse: x",
        "when: {endpoint: images}, refuse: x",
        "when: {prompt_tokens_over: many}, refuse: x",
        "when: {any: []}, refuse: x",
        "when: {not: {moon: full}}, refuse: x",
        "when: {time: {from: '25:00'}}, refuse: x",
        "when: {knowledge: {collections: [a], score_over: 2}}, refuse: x",
        "use: {path: sideways}",
        "use: {}",
        "use: {path: direct, targets: [{model: a, weight: 0}]}",
        "use: {path: direct, sticky: moon}",
        "use: {path: direct, shadow: {path: direct, model: a}}",
        "use: {path: direct, timeouts: {total: 0}}",
        "refuse: ''",
    ],
)
def test_a_rule_of_the_wrong_form_is_refused(rule: str) -> None:
    assert faults("routing", RULE.replace("%s", rule))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("routing", "rules: []"),
        ("routing", "rules: [{name: 'a b', refuse: x}]"),
        ("routing", "rules: [{name: a, refuse: x}]\ntests: [{name: t, call: {}, expect: {}}]"),
        ("models", "upstreams: {}"),
        ("models", "upstreams: {'a b': {base_url: 'http://h'}}"),
        ("models", "upstreams: {a: {base_url: 'http://h', attempts: 9}}"),
        ("models", "upstreams: {a: {}}"),
        ("knowledge", "collections: {a: {teem: [x]}}"),
        ("knowledge", "embedders: {a: {kind: magic, path: x}}"),
        ("prices", "prices: [{models: [], source: s, read_on: '2026-01-01'}]"),
        ("teams", "teams: {a: {monthly_budget_usd: -1}}"),
        ("signals", "task: {}"),
    ],
)
def test_a_file_of_the_wrong_form_is_refused(name: str, text: str) -> None:
    assert faults(name, text)


def test_keys_are_described_where_somebody_has() -> None:
    when = SCHEMAS["routing"]["$defs"]["When"]["properties"]
    assert {key: when[key]["description"] for key in CONDITIONS} == {
        key: condition.summary for key, condition in CONDITIONS.items()
    }
    use = SCHEMAS["routing"]["$defs"]["UseEntry"]["properties"]
    assert use["sticky"]["description"] == "the field whose equal values get the same target"
    price = SCHEMAS["prices"]["$defs"]["Price"]["properties"]
    assert price["from"]["description"] == price["to"]["description"] != ""
    described = re.findall(r'"description"', str(SCHEMAS).replace("'", '"'))
    assert len(described) > 60
