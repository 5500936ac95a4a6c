"""Evals in both databases: items one claimer's at a time, each outcome written once, sums exact, pages cut exactly."""

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from gateway.core.answered import Answered, Ask
from gateway.core.call import Principal
from gateway.core.clock import Clock
from gateway.core.page import PageAsked
from gateway.db.engine import Database
from gateway.tuning.evals.items.store import ItemStore
from gateway.tuning.evals.runner import Runner
from gateway.tuning.evals.runs.store import RunStore
from gateway.tuning.evals.store import EvalStore
from gateway.tuning.evals.values import Eval, Row, Run, Tally
from tests.fakes.calls import NOON

CRITERIA = (
    '[{"type":"score_model","name":"judge","model":"m","pass_threshold":0.5,'
    '"input":[{"role":"user","content":"{{item.q}} {{sample.output_text}}"}]}]'
)
SOURCE = (
    '{"type":"completions","model":"m","source":{"type":"file_id","id":"f"},'
    '"input_messages":{"type":"template","template":[{"role":"user","content":"{{item.q}}"}]}}'
)
MADE = Eval("eval_1", "support", "n", "null", '{"type":"custom","item_schema":{}}', CRITERIA, NOON, NOON)
PRINCIPAL = Principal("support", "key_1", "tests")
RUN = Run(
    "run_1",
    "eval_1",
    "support",
    msgspec.json.encode(PRINCIPAL).decode(),
    "",
    "null",
    SOURCE,
    "m",
    "queued",
    NOON,
    3,
)
ROWS = [Row(f'{{"q":"question {number}"}}') for number in range(3)]
PASSED = Tally("criterion", "000", passed=1)
USED = Tally("model", "m", invocations=2, prompt_tokens=10, completion_tokens=3)


async def begun(database: Database, run: Run = RUN, rows: list[Row] = ROWS) -> tuple[RunStore, ItemStore]:
    await EvalStore(database).create(MADE)
    runs = RunStore(database)
    assert await runs.create(run, rows)
    return runs, ItemStore(database)


async def test_an_item_is_one_claimers_until_its_hold_ends(database: Database) -> None:
    runs, items = await begun(database)
    first = await items.claim(NOON, 15, 2)
    assert [(work.number, work.tries, work.item) for work in first] == [(n, 1, ROWS[n].item) for n in range(2)]
    assert [work.number for work in await items.claim(NOON + 1, 15, 5)] == [2]
    assert await items.claim(NOON + 2, 15, 5) == []
    assert await items.hold([("run_1", 0)], NOON + 60) == {("run_1", 0)}
    again = await items.claim(NOON + 16, 15, 5)
    assert sorted((work.number, work.tries) for work in again) == [(1, 2), (2, 2)]
    found = await runs.find("eval_1", "run_1")
    assert found is not None
    assert found.status == "in_progress"


async def test_what_came_of_an_item_is_written_once_and_summed_once(database: Database) -> None:
    """Two who have the same item, the first with its hold run out, as after a pause of a whole machine."""
    runs, items = await begun(database)
    await items.claim(NOON, 15, 3)
    key = ("run_1", 0)
    await items.note(key, '{"sampled":null}')
    writes = (items.finish(key, "pass", "{}", [USED, PASSED]) for _ in range(4))
    assert sorted(await asyncio.gather(*writes)) == [False, False, False, True]
    await items.note(key, "spoiled")
    assert await items.finish(("run_1", 1), "error", "{}", [PASSED, USED])
    await runs.settle()
    progress = (await runs.progress(["run_1"]))["run_1"]
    assert progress.by_status == {"pass": 1, "error": 1}
    assert progress.tallies == (
        Tally("criterion", "000", passed=2),
        Tally("model", "m", invocations=4, prompt_tokens=20, completion_tokens=6),
    )
    assert await items.finish(("run_1", 2), "fail", "{}", [])
    await runs.settle()
    found = await runs.find("eval_1", "run_1")
    assert found is not None
    assert found.status == "completed"
    page = await items.page("run_1", PageAsked(order="asc"), None)
    assert [(item.number, item.outcome) for item in page.items] == [(0, "{}"), (1, "{}"), (2, "{}")]


async def test_ends_at_once_wait_for_each_other_and_lose_nothing(database: Database) -> None:
    count = 40
    runs, items = await begun(database, msgspec.structs.replace(RUN, item_count=count), [ROWS[0] for _ in range(count)])
    claimed = await items.claim(NOON, 15, count)

    async def end(number: int) -> None:
        assert await items.finish(("run_1", number), "pass", "{}", [PASSED, USED][:: 1 if number % 2 else -1])
        await runs.settle()

    await asyncio.gather(*(end(work.number) for work in claimed))
    progress = (await runs.progress(["run_1"]))["run_1"]
    assert progress.by_status == {"pass": count}
    assert [(one.passed, one.invocations) for one in progress.tallies] == [(count, 0), (0, 2 * count)]
    found = await runs.find("eval_1", "run_1")
    assert found is not None
    assert found.status == "completed"


async def test_a_canceled_run_takes_nothing_more(database: Database) -> None:
    runs, items = await begun(database)
    await items.claim(NOON, 15, 1)
    assert await runs.end("run_1", "canceled")
    assert not await runs.end("run_1", "failed", "code", "message")
    assert await items.hold([("run_1", 0)], NOON + 60) == set()
    assert not await items.finish(("run_1", 0), "pass", "{}", [PASSED])
    assert await items.claim(NOON + 1_000, 15, 5) == []
    await runs.settle()
    found = await runs.find("eval_1", "run_1")
    assert found is not None
    assert (found.status, found.error_code) == ("canceled", "")
    assert (await runs.progress(["run_1"]))["run_1"].by_status == {}


async def test_a_small_run_need_not_wait_for_a_large_one(database: Database) -> None:
    runs, items = await begun(database, RUN, [ROWS[0] for _ in range(50)])
    await runs.create(msgspec.structs.replace(RUN, id="run_2", created_at=NOON + 9), ROWS[:1])
    assert ("run_2", 0) in [(work.run_id, work.number) for work in await items.claim(NOON, 15, 2)]


async def test_deleting_an_eval_takes_everything_with_it(database: Database) -> None:
    runs, items = await begun(database)
    (work, *_) = await items.claim(NOON, 15, 1)
    await EvalStore(database).remove("eval_1")
    assert not await items.finish((work.run_id, work.number), "pass", "{}", [PASSED])
    assert await runs.find("eval_1", "run_1") is None
    assert await EvalStore(database).find("eval_1", "support") is None
    assert not await runs.create(msgspec.structs.replace(RUN, id="run_2"), ROWS)
    assert await items.claim(NOON + 1_000, 15, 5) == []


async def test_evals_are_paged_by_both_times_and_only_for_their_team(database: Database) -> None:
    store = EvalStore(database)
    for number in range(5):
        made = msgspec.structs.replace(
            MADE, id=f"eval_{number}", created_at=NOON + number, updated_at=NOON + 10 - number
        )
        await store.create(made)
    await store.create(msgspec.structs.replace(MADE, id="eval_9", team="other"))
    assert await store.find("eval_9", "support") is None
    first = await store.page("support", PageAsked(2, "asc"), "updated_at")
    assert ([one.id for one in first.items], first.has_more) == (["eval_4", "eval_3"], True)
    rest = await store.page("support", PageAsked(3, "asc", "eval_3"), "updated_at")
    assert ([one.id for one in rest.items], rest.has_more) == (["eval_2", "eval_1", "eval_0"], False)
    await store.change("eval_4", NOON + 99, {"name": "renamed"})
    last = await store.page("support", PageAsked(1, "desc"), "updated_at")
    assert [(one.id, one.name) for one in last.items] == [("eval_4", "renamed")]


class Provider:
    """Answers every call, the judge's with a score; `refuses` says which replies come first instead."""

    def __init__(self, *refuses: Answered) -> None:
        self.asked: list[str] = []
        self._refuses = list(refuses)

    def asking(self, principal: Principal) -> Ask:
        assert principal == PRINCIPAL

        async def ask(path: str, body: bytes) -> Answered:
            self.asked.append(path)
            if self._refuses:
                return self._refuses.pop(0)
            said = '{"steps":[],"result":0.75}' if b"response_format" in body else "an answer"
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}
            usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
            return Answered(200, msgspec.json.encode({"model": "m", "choices": [choice], "usage": usage}))

        return ask


def refused(status: int, code: str) -> Answered:
    return Answered(status, msgspec.json.encode({"error": {"message": "no", "type": "t", "param": None, "code": code}}))


async def run_until_ended(database: Database, provider: Provider, is_good: Callable[[], bool] = lambda: True) -> Run:
    """What the background does, by the run's own end."""
    runs = RunStore(database)
    runner = Runner(runs, ItemStore(database), provider.asking, Clock(), lambda *_: is_good())
    working = asyncio.create_task(runner.run())
    try:
        async with asyncio.timeout(30):
            while True:
                found = await runs.find("eval_1", "run_1")
                assert found is not None
                if found.status not in ("queued", "in_progress"):
                    return found
                await asyncio.sleep(0.02)
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


async def test_a_run_is_answered_and_judged(database: Database) -> None:
    runs, _ = await begun(database)
    provider = Provider()
    assert (await run_until_ended(database, provider)).status == "completed"
    assert len(provider.asked) == 6
    progress = (await runs.progress(["run_1"]))["run_1"]
    assert progress.by_status == {"pass": 3}
    assert progress.tallies[1] == Tally("model", "m", invocations=6, prompt_tokens=42, completion_tokens=12)


async def test_an_answer_that_was_noted_is_not_asked_for_again(database: Database) -> None:
    """Whoever takes the item over asks only its judge."""
    runs, items = await begun(database, RUN, ROWS[:1])
    await answered_by_the_dead(database)
    provider = Provider()
    assert (await run_until_ended(database, provider)).status == "completed"
    assert len(provider.asked) == 1
    (item,) = (await items.page("run_1", PageAsked(), None)).items
    assert item.status == "pass"
    assert (await runs.progress(["run_1"]))["run_1"].tallies[1].invocations == 2


async def answered_by_the_dead(database: Database) -> None:
    """An item that was answered by a process that died before its judge was asked."""
    items = ItemStore(database)
    (work,) = await items.claim(NOON, 15, 1)
    from_model = {"role": "assistant", "content": "an answer"}
    sampled = {
        "input": [],
        "namespace": {"output_text": "an answer", "choices": [{"message": from_model}]},
        "finish_reason": "stop",
        "usage": {"model": "m", "invocations": 1, "prompt_tokens": 7, "completion_tokens": 2, "cached_tokens": 0},
    }
    await items.note((work.run_id, work.number), msgspec.json.encode({"sampled": sampled}).decode())


async def test_a_busy_upstream_is_tried_again_and_a_refusal_is_told(database: Database) -> None:
    runs, items = await begun(database, RUN, ROWS[:1])
    provider = Provider(refused(503, "busy"), refused(429, "rate_limit_exceeded"))
    assert (await run_until_ended(database, provider)).status == "completed"
    assert len(provider.asked) == 4
    assert (await runs.progress(["run_1"]))["run_1"].by_status == {"pass": 1}
    await runs.remove("run_1")
    await runs.create(RUN, ROWS[:1])
    assert (await run_until_ended(database, Provider(refused(404, "model_not_found")))).status == "completed"
    (item,) = (await items.page("run_1", PageAsked(), "error")).items
    assert "model_not_found" in item.outcome


async def test_a_spent_budget_ends_the_run_and_keeps_what_was_done(database: Database) -> None:
    await begun(database)
    found = await run_until_ended(database, Provider(refused(429, "insufficient_quota")))
    assert (found.status, found.error_code) == ("failed", "insufficient_quota")
    assert "429" in found.error_message


async def test_a_run_ends_with_the_key_that_began_it(database: Database) -> None:
    """After some calls; what was answered is kept, and no more is asked."""
    await begun(database, msgspec.structs.replace(RUN, item_count=20), [ROWS[0] for _ in range(20)])
    provider = Provider()
    found = await run_until_ended(database, provider, lambda: len(provider.asked) < 4)
    assert (found.status, found.error_code) == ("failed", "invalid_api_key")
    assert "revoked" in found.error_message
    assert 0 < len(provider.asked) < 40


async def test_a_criterion_that_is_not_taken_any_more_ends_the_run(database: Database) -> None:
    """As a run begun by another version may have."""
    made = msgspec.structs.replace(MADE, testing_criteria='[{"type":"oracle","name":"o"}]')
    await EvalStore(database).create(made)
    await RunStore(database).create(RUN, ROWS)
    found = await run_until_ended(database, Provider())
    assert (found.status, found.error_code) == ("failed", "invalid_request")
    assert "testing_criteria[0]" in found.error_message


@pytest.mark.parametrize("number", [0, 1])
async def test_an_item_that_ends_no_process_is_given_up(database: Database, number: int) -> None:
    """Whoever takes it dies, again and again: then it is an error, and the run goes on."""
    runs, items = await begun(database, RUN, ROWS[: number + 1])
    for round_ in range(9):
        for work in await items.claim(NOON + round_ * 100, 15, 5):
            if work.number != number:
                await items.finish((work.run_id, work.number), "pass", "{}", [])
    assert (await run_until_ended(database, Provider())).status == "completed"
    assert (await runs.progress(["run_1"]))["run_1"].by_status.get("error") == 1
