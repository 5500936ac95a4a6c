"""Plans of retraining: one that is open is found by what was asked, on both databases."""

import msgspec

from gateway.db.engine import Database
from gateway.tuning.retraining.store import RetrainPlans, results_of
from gateway.tuning.retraining.values import RetrainAsked

ASKED = RetrainAsked("tone", "gpt-4o-mini", "upstream", "support", "version", ("direct:m",))


async def test_an_open_plan_is_found_by_the_same_words_until_it_ends(database: Database) -> None:
    plans = RetrainPlans(database)
    assert await plans.open_one(ASKED) is None
    made = await plans.create("retrain_1", ASKED, "cli:me", 1.0)
    assert await plans.open_one(ASKED) == made
    for other in ({"base": "x"}, {"trainer": "x"}, {"arms": ()}, {"epochs": 3}, {"line": "other"}):
        assert await plans.open_one(msgspec.structs.replace(ASKED, **other)) is None
    ended = await plans.end(made, "given_up", 2.0, "it failed")
    assert (ended.state, ended.error) == ("given_up", "it failed")
    assert await plans.open_one(ASKED) is None
    later = await plans.create("retrain_2", ASKED, "cli:me", 3.0)
    assert await plans.of_line("tone") == [later, ended]


async def test_what_came_of_each_step_stays_in_their_order(database: Database) -> None:
    plans = RetrainPlans(database)
    plan = await plans.create("retrain_1", ASKED, "cli:me", 1.0)
    plan = await plans.note(plan, "rebuild", {"rows": 5}, 2.0)
    plan = await plans.note(plan, "lint", {"errors": 0}, 3.0)
    assert results_of(plan) == {"rebuild": {"rows": 5}, "lint": {"errors": 0}}
    assert await plans.open_one(ASKED) == plan
