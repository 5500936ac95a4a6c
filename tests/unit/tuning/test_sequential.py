"""The canary's test: rarely wrong about a good one, however often it is looked at, and quick about a bad one."""

import math
import random

import pytest

from gateway.tuning.sequential import Counts, evidence, judge

CANARY_SHARE = 0.2
CALLS = 1_500


def rolled_back_after(
    seed: int, champion: dict[str, float], canary: dict[str, float], calls: int = CALLS
) -> int | None:
    """How many calls of both arms it took, looked at after every ten; None when the canary stayed."""
    draw = random.Random(seed)
    sums = {
        "champion": dict.fromkeys(Counts.__struct_fields__, 0),
        "canary": dict.fromkeys(Counts.__struct_fields__, 0),
    }
    for number in range(1, calls + 1):
        name, rates = ("canary", canary) if draw.random() < CANARY_SHARE else ("champion", champion)
        mine = sums[name]
        mine["calls"] += 1
        mine["formed"] += 1
        mine["errors"] += draw.random() < rates.get("errors", 0.01)
        mine["malformed"] += draw.random() < rates.get("malformed", 0.02)
        mine["slow"] += draw.random() < rates.get("slow", 0.05)
        if draw.random() < 0.3:
            mine["rated"] += 1
            mine["disliked"] += draw.random() < rates.get("disliked", 0.1)
        if number % 10 == 0:
            seen = {name: dict(one) for name, one in sums.items()}
            for one in seen.values():
                one["slow"] = min(one["slow"], one["calls"] - one["errors"])
            if judge(Counts(**seen["champion"]), Counts(**seen["canary"])) == "roll_back":
                return number
    return None


def test_a_canary_like_its_champion_is_rolled_back_in_less_than_one_of_twenty() -> None:
    """By Ville's inequality; looked at 150 times in each of 200 trials."""
    rolled = sum(rolled_back_after(seed, {}, {}) is not None for seed in range(200))
    assert rolled < 10


@pytest.mark.parametrize(
    ("rates", "calls"),
    [({"errors": 0.3}, 300), ({"malformed": 0.2}, 700), ({"slow": 0.3}, 700), ({"disliked": 0.7}, 700)],
)
def test_a_regression_is_rolled_back_within_so_many_calls(rates: dict[str, float], calls: int) -> None:
    """One call in five goes to the canary; of twenty trials at most one may take longer."""
    took = [rolled_back_after(seed, {}, rates, calls) for seed in range(20)]
    assert sum(one is not None for one in took) >= 19, took


def test_a_better_canary_stays() -> None:
    assert rolled_back_after(1, {"errors": 0.3}, {"errors": 0.0}) is None


def test_a_difference_within_the_tolerance_is_none() -> None:
    champion, canary = Counts(calls=100_000, errors=2_000), Counts(calls=20_000, errors=560)
    assert judge(champion, canary) == "roll_back"
    assert judge(champion, canary, tolerance=0.02) == "go_on"
    worse = Counts(calls=20_000, errors=1_400)
    assert judge(champion, worse, tolerance=0.02) == "roll_back"


def test_the_evidence_grows_with_calls_and_names_its_measure() -> None:
    seen = [evidence(Counts(calls=n * 5, errors=n // 10), Counts(calls=n, errors=n // 2))[0] for n in (20, 100, 500)]
    logs = [one.log_evidence for one in seen]
    assert logs == sorted(logs)
    assert seen[-1].measure == "errors"
    assert seen[-1].suffices
    assert math.isfinite(logs[-1])


def test_nothing_seen_says_nothing() -> None:
    assert judge(Counts(), Counts()) == "go_on"
    assert judge(Counts(calls=1000), Counts(calls=3, errors=3)) == "roll_back"
    assert judge(Counts(), Counts(calls=50, errors=50)) == "go_on"


@pytest.mark.parametrize("bad", [Counts(calls=1, errors=2), Counts(calls=-1), Counts(rated=1, disliked=2)])
def test_counts_that_cannot_be_are_refused(bad: Counts) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        judge(Counts(calls=10), bad)
