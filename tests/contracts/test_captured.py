"""Captured calls and feedback, kept the same way on both databases."""

from gateway.db.engine import Database
from gateway.ledger.records import record_of
from gateway.ledger.served.store import ServedCalls
from gateway.ledger.store import LedgerStore
from gateway.tuning.captured.store import AT_ONCE, CapturedCalls
from gateway.tuning.captured.values import CallsAsked
from gateway.tuning.feedback.store import FeedbackStore
from gateway.tuning.feedback.values import Rated
from tests.fakes.calls import DIRECT, SUPPORT, closed, decided, facts
from tests.fakes.captured import DAY, NOON, captured, said


async def ids(store: CapturedCalls, asked: CallsAsked, now: float = NOON + 1_000) -> list[str]:
    return [call.id async for call in store.read(asked, now)]


async def test_calls_are_read_in_order_however_many_they_are(database: Database) -> None:
    store = CapturedCalls(database)
    calls = [captured(number, at=NOON + number // 3) for number in range(AT_ONCE + 7)]
    await store.add(calls)
    await store.add(calls[:5])
    read = [call async for call in store.read(CallsAsked("support"), NOON)]
    assert read == sorted(calls, key=lambda call: (call.at, call.id))
    assert await store.count("support") == len(calls)


async def test_a_team_a_line_and_a_time_are_told_apart(database: Database) -> None:
    store = CapturedCalls(database)
    others = [captured(3, team="sales"), captured(4, line=None, version=None)]
    await store.add([captured(1), captured(2), *others])
    assert await ids(store, CallsAsked("support")) == ["call_1", "call_2", "call_4"]
    assert await ids(store, CallsAsked("support", line="tone")) == ["call_1", "call_2"]
    assert await ids(store, CallsAsked("support", line="tone", since=NOON + 2)) == ["call_2"]
    assert await ids(store, CallsAsked("support", line="tone", until=NOON + 2)) == ["call_1"]
    assert list(await store.several(["call_1", "call_3"], "support", NOON)) == ["call_1"]


async def test_a_call_is_found_by_each_of_its_ids_until_it_expires(database: Database) -> None:
    store = CapturedCalls(database)
    await store.add([captured(1, expires_at=NOON + DAY), captured(2)])
    for identity in ("call_1", "dec_1", "chatcmpl-1"):
        found = await store.find(identity, NOON)
        assert found is not None
        assert found.id == "call_1"
        assert await store.find(identity, NOON + DAY) is None
    assert await ids(store, CallsAsked("support"), NOON + DAY) == ["call_2"]
    assert (await store.sweep(NOON + DAY), await store.sweep(NOON + DAY)) == (1, 0)
    assert await store.count("support") == 1


async def test_what_is_said_again_replaces_what_was_said(database: Database) -> None:
    store = FeedbackStore(database)
    await store.put(said(1, -1))
    await store.put(said(1, 1, "Better so.", at=NOON + 50))
    assert await store.page(["support"], None, 10) == [said(1, 1, "Better so.", at=NOON + 50)]
    assert await store.page(["sales"], None, 10) == []
    assert list(await store.of("support", ["call_1", "call_2"])) == ["call_1"]
    assert await store.of("sales", ["call_1"]) == {}


async def test_the_words_of_old_feedback_are_forgotten_and_its_score_stays(database: Database) -> None:
    store = FeedbackStore(database)
    await store.put(said(1, -1, "So."))
    await store.put(said(2, -1, "So.", team="sales"))
    await store.put(said(9, -1, "So."))
    assert await store.forget(NOON + 5, "support") == 1
    assert [(one.call_id, one.corrected) for one in await store.page(None, None, 9)] == [
        ("call_9", "So."), ("call_2", "So."), ("call_1", ""),
    ]  # fmt: skip
    assert (await store.forget(NOON + 5), await store.forget(NOON + 5)) == (1, 0)
    assert await store.negative("tone", 1, NOON) == Rated(3, 3)


async def test_negative_feedback_is_counted_by_version_and_time_of_the_call(database: Database) -> None:
    store = FeedbackStore(database)
    for number, score in ((1, -1.0), (2, 0.5), (3, 0.0), (4, -0.2)):
        await store.put(said(number, score))
    await store.put(said(5, -1, version=2))
    assert await store.negative("tone", 1, NOON) == Rated(4, 2)
    assert await store.negative("tone", 1, NOON + 4) == Rated(1, 1)
    assert await store.negative("tone", 2, NOON) == Rated(1, 1)
    assert await store.negative("other", 1, NOON) == Rated(0, 0)


async def test_a_call_is_found_in_the_books_with_what_answered_it(database: Database) -> None:
    """By its own id and its decision's; a fallback may have answered, and not what was decided."""
    served = ServedCalls(database)
    record = record_of("call_7", SUPPORT, decided(DIRECT), facts(), ())
    first = closed(7, id="call_7.1", call_id="call_7", last=False, model="first", line=None)
    last = closed(7, id="call_7.2", call_id="call_7", attempt=2, last=True, model="ft:x", line="tone")
    judged = closed(7, id="call_7.judge.1", call_id="call_7", attempt=3, last=True, endpoint="judge", model="judge")
    await LedgerStore(database).ship([first, last, judged], [record], {})
    for identity in ("call_7", record.id):
        found = await served.find(identity)
        assert found is not None
        assert (found.call_id, found.decision_id, found.team) == ("call_7", record.id, "support")
        assert (found.line, found.model) == ("tone", "ft:x")
    assert await served.find("call_8") is None
