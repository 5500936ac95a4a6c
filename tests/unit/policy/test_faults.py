"""Every fault at once: what is wrong in one place hides nothing that is wrong in another."""

import pytest

from gateway.core.errors import BadConfiguration
from gateway.policy.load import in_order
from tests.fakes.rulebook import DIRECT, KNOWLEDGE, MODELS, rulebook

STRUCTURE = "rules: [{name: a, wenn: {}, use: {path: direct}}, %s {name: rest, use: {path: direct}}]"


def told(routing: str = DIRECT, models: str = MODELS, knowledge: str = KNOWLEDGE, **more: str) -> list[str]:
    """Faults as `file:line what`."""
    with pytest.raises(BadConfiguration) as caught:
        rulebook(routing, models, knowledge, **more)
    parts = [fault.split(":", 3) for fault in caught.value.faults]
    return [f"{file.removeprefix('policies/').removesuffix('.yaml')}:{line}{what}" for file, line, _, what in parts]


def beside_a_bad_rule(good: str) -> list[str]:
    """What is said of a rule that can be read beside one that cannot."""
    return [fault for fault in told(STRUCTURE.replace("%s", good)) if "wenn" not in fault]


def test_a_rule_that_cannot_be_read_hides_no_fault_of_another() -> None:
    assert beside_a_bad_rule("{name: b, when: {knowledge: {collections: [x]}}, use: {path: direct}},") == [
        "routing:1 collection 'x' is not in knowledge.yaml."
    ]
    assert beside_a_bad_rule("{name: b, when: {team: t}, use: {path: fine_tuned, line: y}},") == [
        "routing:1 'y' is no line, or no version of one, in models.yaml."
    ]
    assert beside_a_bad_rule("{name: b, use: {path: direct}},") == [
        "routing:1 rule 'b' holds for every call, so the rules below it never do."
    ]


def test_a_name_that_stands_twice_is_found_also_where_a_rule_cannot_be_read() -> None:
    assert beside_a_bad_rule("{name: a, when: {team: t}, use: {path: direct}},") == [
        "routing:1 rule 'a' stands twice; names must differ."
    ]
    assert "routing:1 rule 'b' stands twice; names must differ." in told(
        "rules: [{name: b, use: {path: sideways}}, {name: b, refuse: 3}, {name: rest, use: {path: direct}}]"
    )


def test_faults_of_the_models_hide_none_of_the_rules() -> None:
    routing = """
rules:
  - {name: a, when: {team: x}, use: {path: direct, model: house}}
  - {name: a, when: {team: y}, use: {path: fine_tuned, line: gone}}
  - {name: c, use: {path: rag, collections: [nowhere], model: small}}
"""
    models = """
upstreams: {main: {base_url: "http://main.test/v1", colour: red}, lab: {base_url: "http://lab.test"}}
models: {small: {upstream: main}, house: {upstream: nowhere}}
"""
    assert told(routing, models) == [
        "models:2 'colour' is not a key here.",
        "models:3 upstream 'nowhere' is not defined above.",
        "routing:4 rule 'a' stands twice; names must differ.",
        "routing:4 'gone' is no line, or no version of one, in models.yaml.",
        "routing:5 collection 'nowhere' is not in knowledge.yaml.",
    ]


@pytest.mark.parametrize(
    "models",
    [
        MODELS.replace("champion: 2", "champion: 9"),
        MODELS.replace("house: {upstream: lab", "house: {upstreem: lab").replace('"*": {upstream: main}', ""),
        MODELS.replace("lines:", "linse:"),
        MODELS + "  - [",
        "",
        "upstreams: 3",
        "- a list",
    ],
)
def test_what_a_faulty_entry_may_have_meant_is_no_unknown_name(models: str) -> None:
    """One slip in models.yaml is one fault, not one for each rule that names what stands there."""
    routing = (
        "rules: [{name: a, when: {task: {line: tone}}, use: {path: fine_tuned, line: tone@v1, "
        "fallback: [{path: direct, model: house}]}}, {name: rest, use: {path: direct}}]"
    )
    found = told(routing, models)
    assert found
    assert not [fault for fault in found if fault.startswith("routing")]


def test_a_bad_knowledge_file_hides_no_unknown_line_and_makes_no_collection_unknown() -> None:
    routing = (
        "rules: [{name: a, when: {team: x}, use: {path: rag, collections: [help-centre], model: small}}, "
        "{name: rest, use: {path: fine_tuned, line: gone}}]"
    )
    for knowledge in ("collections: {help-centre: {teem: [x]}}", "collections: [", "collections: 3"):
        found = told(routing, knowledge=knowledge)
        assert [fault for fault in found if fault.startswith("routing")] == [
            "routing:1 'gone' is no line, or no version of one, in models.yaml."
        ]


def test_auto_is_never_a_model_whatever_else_is_wrong() -> None:
    assert "routing:1 'auto' is what callers say to leave the choice to this file; name the model here." in told(
        "rules: [{name: r, use: {path: direct, model: auto}}]", models="["
    )


def test_all_files_are_told_of_by_file_and_line() -> None:
    found = told(
        "rules:\n  - {name: a, use: {path: rag, collections: [nowhere]}}\n  - {name: b c, use: {path: direct}}\n",
        'upstreams: {main: {base_url: "http://m"}}\nmodels: {a: {upstream: x}}\nlinse: 3\n',
        "collections: {a: {teem: x}}",
        teams="teams: {a: {monthly_budget_usd: .nan}}",
        signals="embedder: nobody",
    )
    assert [fault.partition(" ")[0] for fault in found] == [
        *("models:2", "models:3", "knowledge:1", "teams:1", "signals:1", "signals:1", "signals:1"),
        *("routing:2", "routing:2", "routing:3"),
    ]


def test_faults_stand_in_the_order_of_their_lines() -> None:
    faults = ["b.yaml:10:1: x", "a.yaml:2:9: y", "b.yaml:9:1: z", "no such folder", "b.yaml:9:1: a"]
    assert in_order(faults) == ["b.yaml:9:1: z", "b.yaml:9:1: a", "b.yaml:10:1: x", "a.yaml:2:9: y", "no such folder"]


def test_an_alias_bomb_is_refused_at_its_place() -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefg", "bcdefgh", strict=True)
    )
    (fault, *_) = told(bomb + "rules: [*h]\n")
    assert "too large or too deep once aliases are expanded" in fault
