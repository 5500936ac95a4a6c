from datetime import date

import pytest

from gateway.core.document import read_document, validate
from gateway.policy.ends import Ends, base_of, names_of
from gateway.policy.load import load
from gateway.policy.models_file import VersionEntry
from gateway.policy.shutdowns_file import BUILT_IN, ShutdownsFile
from tests.fakes.calls import chat, facts
from tests.fakes.rulebook import MODELS, held, rulebook, texts

DAY = date(2027, 1, 14)
LISTED = validate(read_document(BUILT_IN.read_bytes(), "shutdowns.yaml"), ShutdownsFile)
LIST = BUILT_IN.read_text()


def end(model: str, base: str = "") -> date | None:
    found = Ends(None, LISTED).of(model, base=base)
    return None if found is None else found.day


@pytest.mark.parametrize(
    ("model", "day"),
    [
        ("ft:gpt-4o-mini-2024-07-18:acme:tone:Ab12", DAY),
        ("ft:gpt-4o-mini-2024-07-18:acme::Ab12:ckpt-step-90", DAY),
        ("ft:gpt-4o-mini:acme::Ab12", DAY),
        ("ft:gpt-4.1-mini-2025-04-14:acme::Ab12", DAY),
        ("gpt-4.1-mini-2025-04-14.ft-0e208cf33a6a466994aff31a08aba678", DAY),
        ("deployments/gpt-4o-mini-2024-07-18.ft-0e208cf3", DAY),
        ("gpt-4o-mini-2024-07-18", DAY),
        ("ft:gpt-3.5-turbo-0125:acme::Ab12", date(2026, 10, 23)),
        ("davinci:ft-acme-2022-01-01", None),
        # An alias moves on to another snapshot, and what was tuned from a model may end before it does.
        ("gpt-4o-mini", None),
        ("gpt-3.5-turbo", None),
        ("open-7b", None),
        ("", None),
        ("ft:", None),
    ],
)
def test_an_id_is_resolved_to_the_end_of_its_base(model: str, day: date | None) -> None:
    assert end(model) == day


def test_a_base_that_no_id_tells_is_said_beside_it() -> None:
    assert end("support-adapter", base="gpt-4o-mini-2024-07-18") == DAY


def test_names_go_from_the_whole_id_to_the_undated_base() -> None:
    assert names_of("ft:gpt-4o-mini-2024-07-18:acme::Ab12:ckpt-step-90") == (
        "ft:gpt-4o-mini-2024-07-18:acme::Ab12:ckpt-step-90",
        "ft:gpt-4o-mini-2024-07-18:acme::Ab12",
        "gpt-4o-mini-2024-07-18",
        "gpt-4o-mini",
    )
    assert base_of("gpt-4o-mini") == ""


def test_sources_are_named_in_order_and_the_earliest_day_counts() -> None:
    model = "ft:gpt-4o-mini-2024-07-18:acme:tone:Ab12"
    said = {"main": {"gpt-4o-mini-2024-07-18": date(2026, 12, 31)}, "other": {model: date(2020, 1, 1)}}
    version = VersionEntry(id=model, upstream="main", base="gpt-4o-mini-2024-07-18", shutdown_date=date(2028, 1, 1))
    found = Ends(said, LISTED).of_version(version)
    assert found is not None
    assert (found.day, found.source, found.written) == (date(2026, 12, 31), "upstream main", date(2028, 1, 1))
    assert [day for _, day in found.said] == [date(2028, 1, 1), date(2026, 12, 31), DAY]
    assert found.contradicts
    assert found.deprecated == date(2026, 10, 14)


def test_the_list_moves_calls_to_a_successor_and_ends_no_line_without_one() -> None:
    """Nobody wrote that date here: as long as the provider answers, so does the line."""
    dated = MODELS.replace("ft:base:acme:tone:2", "ft:gpt-4o-mini-2024-07-18:acme:tone:2").replace(
        ", shutdown_date: 2027-01-14, training_file", ", training_file"
    )
    with_list = {"shutdowns": LIST}
    catalogue = load(texts("rules: [{name: a, use: {path: direct}}]", dated, **with_list)).policy.catalogue
    assert catalogue.end_of("tone") is not None
    way = rulebook("rules: [{name: a, use: {path: direct}}]").policy.rules[0].ways[0][1]
    assert catalogue.resolve(way, "tone", "support", date(2027, 1, 13)).arm.line == "tone"
    moved = catalogue.resolve(way, "tone", "support", DAY)
    assert (moved.successor_of, moved.arm.path) == ("tone", "rag")
    alone = dated.replace("    successor: {path: rag, collections: [help-centre], model: small}\n", "", 1)
    catalogue = load(texts("rules: [{name: a, use: {path: direct}}]", alone, **with_list)).policy.catalogue
    assert catalogue.resolve(way, "tone", "support", date(2027, 6, 1)).arm.line == "tone"


def test_without_a_list_a_kept_policy_means_what_it_meant() -> None:
    assert not held("shutdown_within: 3650", chat(model="tone@v1"), facts())
