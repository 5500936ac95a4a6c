"""Plans of retraining: one that is open is found by what was asked, on both databases."""

import asyncio

import msgspec

from gateway.core.page import PageAsked
from gateway.db.engine import Database
from gateway.files.store import FileStore, fresh_file
from gateway.tuning.evals.runs.store import RunStore
from gateway.tuning.evals.store import EvalStore
from gateway.tuning.evals.values import Eval, Row, Run
from gateway.tuning.jobs.asked import NewJob, Owner, asked_of, first_events, job_of
from gateway.tuning.jobs.store import TuningJobs
from gateway.tuning.retraining.store import RetrainPlans, results_of
from gateway.tuning.retraining.values import RetrainAsked, RetrainPlan

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


async def test_two_who_ask_at_once_carry_out_one_plan_and_the_next_one_is_another(database: Database) -> None:
    plans = RetrainPlans(database)

    async def begun(actor: str) -> RetrainPlan:
        return await plans.create(await plans.next_id(ASKED), ASKED, actor, 1.0)

    one, other = await asyncio.gather(begun("cli:me"), begun("cli:you"))
    assert one == other
    assert await plans.of_line("tone") == [one]
    assert await plans.next_id(msgspec.structs.replace(ASKED, epochs=3)) != one.id
    await plans.end(one, "done", 2.0)
    late = await plans.create(one.id, ASKED, "cli:late", 3.0)
    assert late.state == "done", "whoever planned before it ended finds it ended"
    assert await plans.next_id(ASKED) != one.id


async def test_what_two_note_of_one_plan_is_kept_of_both(database: Database) -> None:
    plans = RetrainPlans(database)
    plan = await plans.create("retrain_1", ASKED, "cli:me", 1.0)
    await plans.note(plan, "rebuild", {"rows": 5}, 2.0)
    await plans.note(plan, "rebuild", {"rows": 6}, 2.0)
    after = await plans.note(plan, "lint", {"errors": 0}, 3.0)
    assert results_of(after) == {"rebuild": {"rows": 5}, "lint": {"errors": 0}}


async def test_what_two_make_under_one_id_is_made_once(database: Database) -> None:
    files, jobs = FileStore(database), TuningJobs(database)
    file = fresh_file("support", "rows.jsonl", "fine-tune", 3)
    await asyncio.gather(files.put(file, b"one"), files.put(file, b"two"))
    assert await files.content(file) in {b"one", b"two"}
    body = NewJob("gpt-4o-mini", file.id)
    job = job_of(body, asked_of(body), {}, Owner("support"), ("upstream", "main"), 1.0)
    await asyncio.gather(*(jobs.add(job, first_events(job)) for _ in range(2)))
    assert await jobs.find(job.id) == job
    evals, runs = EvalStore(database), RunStore(database)
    made = Eval("eval_1", "support", "e", "{}", "{}", "[]", 1.0, 1.0)
    run = Run("run_1", "eval_1", "support", "{}", "r", "{}", "{}", "m", "queued", 1.0, item_count=1)
    await asyncio.gather(evals.create(made), evals.create(made))
    assert await asyncio.gather(*(runs.create(run, [Row("{}")]) for _ in range(2))) == [True, True]
    assert (await runs.page("eval_1", PageAsked(10, "asc"), None)).items == (run,)
