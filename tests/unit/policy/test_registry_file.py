import json
from datetime import date

import pytest

from gateway.core.errors import ModelNotFound
from gateway.policy.catalogue import Way
from gateway.policy.load import Rulebook, Texts, load

MODELS = b"""
upstreams: {main: {base_url: "http://127.0.0.1:9/v1"}}
models: {"*": {upstream: main}, shared: {upstream: main, teams: [support]}}
lines:
  tone:
    versions: [{id: "ft:base:acme::1", upstream: main, base: base}]
    successor: {path: direct, model: plain}
"""
ROUTING = b"rules: [{name: all, use: {path: direct}}]\n"


def book(registry: dict[str, object]) -> Rulebook:
    texts = {"models.yaml": MODELS, "routing.yaml": ROUTING, "registry.yaml": json.dumps(registry).encode()}
    return load(Texts("policies", texts))


def version(model: str, upstream: str = "main") -> dict[str, str]:
    return {"id": model, "upstream": upstream, "base": "base"}


def model_for(loaded: Rulebook, name: str, team: str = "support") -> str:
    return loaded.policy.catalogue.resolve(Way(path="direct"), name, team, date(2026, 11, 24)).arm.model


def test_a_line_that_was_taken_over_has_its_versions_there_and_its_successor_here() -> None:
    loaded = book({"lines": {"tone": {"versions": [version("ft:1"), version("ft:2")], "champion": 2}}})
    assert model_for(loaded, "tone") == "ft:2"
    assert model_for(loaded, "tone@v1") == "ft:1"
    assert loaded.models.lines["tone"].successor is not None


def test_a_tuned_model_and_a_line_are_open_to_the_teams_that_are_named() -> None:
    loaded = book(
        {
            "models": {"ft:mine": {"upstream": "main", "teams": ["support"]}},
            "lines": {"ours": {"versions": [version("ft:mine")], "teams": ["support", "sales"]}},
        }
    )
    assert model_for(loaded, "ours", "sales") == "ft:mine"
    for name, team in (("ours", "board"), ("ft:mine", "board"), ("shared", "board")):
        with pytest.raises(ModelNotFound):
            model_for(loaded, name, team)
    assert model_for(loaded, "shared") == "shared"


def test_what_an_upstream_served_that_is_gone_takes_no_other_call_down() -> None:
    loaded = book(
        {
            "models": {"ft:lost": {"upstream": "gone", "teams": ["support"]}},
            "lines": {"lost": {"versions": [version("ft:lost", "gone")]}},
        }
    )
    assert "lost" not in loaded.models.lines
    assert model_for(loaded, "anything") == "anything"


def test_another_registry_is_another_policy() -> None:
    """A decision is decided again under the lines as they were."""
    one, two = (book({"lines": {"ours": {"versions": [version(name)]}}}) for name in ("ft:1", "ft:2"))
    assert one.policy.hash != two.policy.hash
