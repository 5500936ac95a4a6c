from datetime import date

import pytest

from gateway.core.decision import Arm
from gateway.core.errors import ModelNotFound
from gateway.policy.catalogue import Catalogue, Resolved, Way
from tests.fakes.rulebook import rulebook

TODAY = date(2026, 11, 23)
END = date(2027, 1, 14)


@pytest.fixture
def catalogue() -> Catalogue:
    return rulebook().policy.catalogue


@pytest.fixture
def closed() -> Catalogue:
    """One without `*`: what is not named does not exist."""
    models = "upstreams: {main: {base_url: 'http://main.test'}}\nmodels: {small: {upstream: main}}\n"
    return rulebook(models=models, knowledge="collections: {a: {teams: ['*'], model: small}}").policy.catalogue


def direct(catalogue: Catalogue, name: str, today: date = TODAY, team: str = "support") -> Resolved:
    return catalogue.resolve(Way(path="direct"), name, team, today)


def test_a_model_goes_to_its_upstream_under_the_name_it_has_there(catalogue: Catalogue) -> None:
    assert direct(catalogue, "small").arm == Arm(path="direct", upstream="main", model="small")
    assert direct(catalogue, "house").arm == Arm(path="direct", upstream="lab", model="big-7b")
    assert direct(catalogue, "any-other").arm == Arm(path="direct", upstream="main", model="any-other")


@pytest.mark.parametrize("name", ["", "*", "auto", "kb/nothing", "kb/board-minutes", "tone@v9", "tone@v0", "tone@x"])
def test_a_name_that_means_nothing_here_is_404(catalogue: Catalogue, name: str) -> None:
    with pytest.raises(ModelNotFound):
        direct(catalogue, name)


def test_without_a_star_only_named_models_exist(closed: Catalogue) -> None:
    assert direct(closed, "small").arm.upstream == "main"
    with pytest.raises(ModelNotFound, match="'large' does not exist or you do not have access"):
        direct(closed, "large")


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("tone", 2),
        ("tone@champion", 2),
        ("tone@challenger", 1),
        ("tone@v1", 1),
        ("tone@2", 2),
        ("ft:base:acme:tone:1", 1),
    ],
)
def test_a_line_is_its_champion_unless_a_version_is_named(catalogue: Catalogue, name: str, version: int) -> None:
    arm = direct(catalogue, name).arm
    assert (arm.path, arm.upstream, arm.line, arm.version) == ("fine_tuned", "main", "tone", version)
    assert arm.model == f"ft:base:acme:tone:{version}"


def test_a_line_lives_to_the_day_before_its_end(catalogue: Catalogue) -> None:
    """On the shutdown date itself the provider may refuse at any hour."""
    assert direct(catalogue, "tone", date(2027, 1, 13)).successor_of is None
    moved = direct(catalogue, "tone", END)
    assert moved.successor_of == "tone"
    assert moved.arm == Arm(path="rag", upstream="main", model="small", collections=("help-centre",))


def test_a_version_without_an_end_outlives_its_siblings(catalogue: Catalogue) -> None:
    assert direct(catalogue, "tone@v1", END).arm.model == "ft:base:acme:tone:1"


def test_a_successor_may_have_ended_too(catalogue: Catalogue) -> None:
    assert direct(catalogue, "chained").arm.model == "ft:base:acme:tone:2"
    assert direct(catalogue, "chained").successor_of == "chained"
    # The sources of the last line in the chain must not be lost on the way.
    assert direct(catalogue, "chained", END).arm.model == "small"


def test_an_ended_line_without_successor_says_what_to_write(catalogue: Catalogue) -> None:
    with pytest.raises(ModelNotFound, match="Add `successor:`"):
        direct(catalogue, "lonely")


def test_a_ring_of_successors_ends_in_a_refusal(catalogue: Catalogue) -> None:
    with pytest.raises(ModelNotFound):
        direct(catalogue, "ring")


def test_a_collection_is_a_model_for_those_who_may_read_it(catalogue: Catalogue) -> None:
    arm = direct(catalogue, "kb/help-centre").arm
    assert (arm.path, arm.model, arm.collections, arm.on_no_match) == ("rag", "small", ("help-centre",), "abstain")
    assert direct(catalogue, "kb/board-minutes", team="board").arm.collections == ("board-minutes",)


def test_a_secret_collection_looks_like_none(catalogue: Catalogue) -> None:
    """Another answer would tell a stranger that it exists."""
    told = []
    for name in ("kb/board-minutes", "kb/no-such"):
        with pytest.raises(ModelNotFound) as caught:
            direct(catalogue, name)
        told.append(caught.value.message.replace(name, "?"))
    assert told[0] == told[1]


def test_a_collection_without_a_model_says_what_to_write(catalogue: Catalogue) -> None:
    with pytest.raises(ModelNotFound, match="Add `model:`"):
        direct(catalogue, "kb/mute")


def test_a_rule_names_what_the_caller_left_open(catalogue: Catalogue) -> None:
    way = Way(path="rag", collections=("help-centre",), model="house", on_no_match="abstain")
    arm = catalogue.resolve(way, "auto", "support", TODAY).arm
    assert arm == Arm(path="rag", upstream="lab", model="big-7b", collections=("help-centre",), on_no_match="abstain")
    by_line = Way(path="fine_tuned", line="tone")
    assert catalogue.resolve(by_line, "auto", "support", TODAY).arm.version == 2


def test_a_fine_tuned_rule_takes_no_base_model(catalogue: Catalogue) -> None:
    """Else a typing error in a name would send the calls to an untuned model, and nobody would know."""
    with pytest.raises(ModelNotFound, match="not a fine-tuned model line"):
        catalogue.resolve(Way(path="fine_tuned"), "small", "support", TODAY)


def test_nobody_reads_a_collection_by_default() -> None:
    catalogue = rulebook(knowledge="collections: {help-centre: {model: small}}").policy.catalogue
    assert not catalogue.readable("help-centre", "support")
    assert not catalogue.readable("help-centre", "*")


def test_a_call_without_a_model_goes_where_any_model_goes(catalogue: Catalogue, closed: Catalogue) -> None:
    assert catalogue.default_upstream() == "main"
    assert closed.default_upstream() == "main"
