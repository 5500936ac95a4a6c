import pytest

from gateway.core.errors import BadConfiguration, InvalidRequest
from gateway.policy.load import Rulebook
from gateway.policy.tuning_file import HostedTrainerEntry, LocalTrainerEntry, RayTrainerEntry
from gateway.training import USUAL, trainer_for, trainers_of
from tests.fakes.rulebook import DIRECT, MODELS, rulebook

BOTH = """
trainers:
  hosted: {upstream: main}
  here: {kind: local, upstream: main, models: {tiny: {path: models/tiny}}}
  cluster: {kind: ray, address: "http://ray:8265", upstream: main, folder: /shared, models: {big: {path: /m}}}
jobs:
  - {models: ["tiny*", big], teams: [support], trainer: here}
  - {models: [gpt-4o-mini], trainer: hosted}
"""


def book(tuning: str) -> Rulebook:
    return rulebook(DIRECT, MODELS, tuning=tuning)


def test_the_first_rule_that_holds_names_the_trainer() -> None:
    loaded = book(BOTH)
    assert trainer_for(loaded, "tiny-2", "support")[0] == "here"
    assert trainer_for(loaded, "gpt-4o-mini", "sales")[0] == "hosted"
    with pytest.raises(InvalidRequest, match="tiny-2"):
        trainer_for(loaded, "tiny-2", "sales")


def test_kinds_are_told_apart_and_serve_where_they_say() -> None:
    entries = trainers_of(book(BOTH))
    assert isinstance(entries["hosted"], HostedTrainerEntry)
    assert isinstance(entries["here"], LocalTrainerEntry)
    assert isinstance(entries["cluster"], RayTrainerEntry)
    assert {entry.serves_at for entry in entries.values()} == {"main"}


def test_without_trainers_the_usual_upstream_trains_and_one_alone_needs_no_rule() -> None:
    assert list(trainers_of(book(""))) == [USUAL]
    assert trainer_for(book(""), "any", "team")[0] == USUAL
    assert trainer_for(book("trainers: {only: {upstream: main}}"), "any", "team")[0] == "only"


def test_every_fault_is_told_with_its_place() -> None:
    with pytest.raises(BadConfiguration) as caught:
        book(
            "trainers:\n"
            "  a: {upstream: nowhere}\n"
            "  b: {kind: abacus, upstream: main}\n"
            "  c: {kind: fireworks, upstream: main}\n"
            "jobs:\n"
            "  - {trainer: nobody}\n"
        )
    places = {fault.partition("tuning.yaml:")[2].partition(" ")[0].rpartition(":")[0] for fault in caught.value.faults}
    assert {place.partition(":")[0] for place in places} >= {"3", "4"}
    with pytest.raises(BadConfiguration) as caught:
        book("trainers: {a: {upstream: nowhere}}\njobs: [{trainer: nobody}]\n")
    assert [fault.partition("tuning.yaml:")[2].partition(":")[0] for fault in caught.value.faults] == ["1", "2"]
