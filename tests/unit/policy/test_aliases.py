import pytest

from gateway.core.errors import BadConfiguration, ModelNotFound
from gateway.policy.catalogue import Way
from tests.fakes.calls import facts
from tests.fakes.rulebook import MODELS, rulebook

ALIASED = (
    MODELS
    + "aliases: {house-style: tone, quick: small, help: kb/help-centre, old: tone@v1, closed: kb/board-minutes}\n"
)


@pytest.mark.parametrize(
    ("alias", "path", "model"),
    [
        ("house-style", "fine_tuned", "ft:base:acme:tone:2"),
        ("old", "fine_tuned", "ft:base:acme:tone:1"),
        ("quick", "direct", "small"),
        ("help", "rag", "small"),
    ],
)
def test_an_alias_is_what_it_stands_for(alias: str, path: str, model: str) -> None:
    arm = rulebook(models=ALIASED).policy.catalogue.resolve(Way("direct"), alias, "support", facts().today).arm
    assert (arm.path, arm.model) == (path, model)


def test_a_rule_may_name_an_alias() -> None:
    rules = "rules: [{name: all, use: {path: direct, model: quick}}]"
    catalogue = rulebook(rules, models=ALIASED).policy.catalogue
    assert catalogue.resolve(Way("direct", model="quick"), "auto", "support", facts().today).arm.model == "small"


def test_an_alias_opens_no_collection() -> None:
    with pytest.raises(ModelNotFound):
        rulebook(models=ALIASED).policy.catalogue.resolve(Way("direct"), "closed", "support", facts().today)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("{small: house}", "already the name"),
        ("{auto: small}", "already the name"),
        ("{a: small, b: a}", "an alias itself"),
        ("{help: kb/nothing}", "collection 'nothing'"),
    ],
)
def test_an_alias_that_means_nothing_or_hides_something_is_a_fault(written: str, told: str) -> None:
    with pytest.raises(BadConfiguration, match=rf"models.yaml:\d+:\d+: .*{told}"):
        rulebook(models=MODELS + f"aliases: {written}\n")


def test_without_a_star_an_alias_of_an_unknown_model_is_a_fault() -> None:
    models = MODELS.replace('  "*": {upstream: main}\n', "") + "aliases: {quick: no-such-model}\n"
    with pytest.raises(BadConfiguration, match="no model and no line"):
        rulebook(models=models)


def test_an_empty_version_is_no_version() -> None:
    """`support-tone@` is a slip of the pen, and not the champion."""
    with pytest.raises(ModelNotFound):
        rulebook(models=MODELS.replace('  "*": {upstream: main}\n', "")).policy.catalogue.version("tone@")
