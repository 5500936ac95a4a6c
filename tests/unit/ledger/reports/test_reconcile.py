from datetime import date
from typing import Any

import pytest

from gateway.ledger.reports.reconcile import Compared, compared, compared_costs
from gateway.ledger.reports.store import Amounts
from gateway.upstream.organization import ProviderCount

DAY = date(2026, 11, 23)


def ours(**fields: Any) -> Amounts:
    names = ("day", "upstream", "model", "service_tier", "endpoint")
    group = {"day": "2026-11-23", "upstream": "openai", "model": "m", "service_tier": "", "endpoint": "chat"}
    given = {"calls": 1, "attempts": 1, "input_tokens": 100, "cached_tokens": 10, "output_tokens": 50}
    given |= {"reasoning_tokens": 0, "context_tokens": 0, "cost_nano_usd": 1_000_000, "unpriced": 0, "estimated": 0}
    for name, value in fields.items():
        (group if name in names else given)[name] = value
    return Amounts(group={**group}, **given)


def theirs(**fields: Any) -> ProviderCount:
    given: dict[str, Any] = {"day": DAY, "kind": "completions", "model": "m", "tier": "", "requests": 1}
    given |= {"input_tokens": 100, "cached_tokens": 10, "output_tokens": 50}
    return ProviderCount(**given | fields)


def only(mine: list[Amounts], yours: list[ProviderCount], tolerance: float = 0.0) -> Compared:
    [line] = compared(mine, yours, tolerance)
    return line


def test_the_same_counts_match_under_either_name_of_a_snapshot_and_over_keys_and_endpoints() -> None:
    assert only([ours()], [theirs()]).status == "match"
    assert only([ours(model="gpt-4.1-mini")], [theirs(model="gpt-4.1-mini-2025-04-14")]).status == "match"
    halves = [theirs(api_key_id=key, requests=1, input_tokens=50, cached_tokens=5, output_tokens=25) for key in "ab"]
    parts = [ours(endpoint=name, input_tokens=50, cached_tokens=5, output_tokens=25) for name in ("chat", "responses")]
    assert only(parts, halves).status == "match"
    assert only([ours(endpoint="retrieval")], [theirs(kind="embeddings")]).status == "match"


def test_a_tuned_model_is_only_itself() -> None:
    lines = compared([ours(model="ft:m-2025-04-14:acme::a")], [theirs(model="ft:m:acme::a")], 0.0)
    assert [line.status for line in lines] == ["theirs_missing", "ours_missing"]


@pytest.mark.parametrize("name", ["input_tokens", "cached_tokens", "output_tokens", "requests"])
def test_each_quantity_counts_and_the_difference_is_ours_less_theirs(name: str) -> None:
    line = only([ours()], [theirs(**{name: 200})])
    assert line.status == "differs"
    assert getattr(line.difference, name) == getattr(line.ours, name) - 200
    assert line.reasons


def test_a_tolerance_is_a_share_of_the_larger() -> None:
    assert only([ours(input_tokens=99)], [theirs()], 0.01).status == "match"
    assert only([ours(input_tokens=98)], [theirs()], 0.01).status == "differs"


def test_what_only_one_side_has_is_told_with_what_is_likely() -> None:
    assert only([], [theirs()]).status == "ours_missing"
    assert "did not come through this gateway" in only([], [theirs()]).reasons[0]
    missing = only([ours(estimated=1)], [])
    assert missing.status == "theirs_missing"
    assert "1 of our attempts are estimates" in missing.reasons[0]
    tiers = compared([ours(service_tier="flex")], [theirs()], 0.0)
    assert all("another tier" in " ".join(line.reasons) for line in tiers)


def test_what_the_provider_counts_elsewhere_is_left_out() -> None:
    assert compared([ours(endpoint="passthrough"), ours(endpoint="training")], [], 0.0) == []


def test_dollars_are_compared_by_day_but_for_the_rounding_of_a_fraction() -> None:
    assert [line.status for line in compared_costs([ours()], {DAY: 1_000_900}, 0.0)] == ["match"]
    [line] = compared_costs([ours(unpriced=2)], {DAY: 3_000_000}, 0.0)
    assert (line.status, line.difference_usd) == ("differs", "-0.002")
    assert "2 of our attempts have no price" in line.reasons[0]
    assert [line.status for line in compared_costs([], {DAY: 5_000}, 0.0)] == ["ours_missing"]
    assert compared_costs([], {DAY: 0}, 0.0) == []
