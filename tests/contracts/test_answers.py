"""What answers stood on and what nothing answered: kept once, with its usage row, on both databases."""

from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text

from gateway.answered import Answers
from gateway.core.errors import InvalidRequest
from gateway.core.grounds import Gap, Grounds, UsedSource
from gateway.db.engine import Database
from gateway.db.partitions import keep_up
from gateway.ledger.answers.store import AnswerStore
from gateway.ledger.records import Final, Grounded, Intent, Record, Void, frame
from gateway.ledger.shipper import Shipper
from gateway.ledger.store import LedgerStore
from tests.fakes.books import books
from tests.fakes.calls import NOON, closed

DAY = 86_400.0


def gap(question: str = "What does the quokka cost?", at: float = NOON, **more: str) -> Gap:
    return Gap(at, ("help",), "no_match", question, 0.05, more.get("outcome", "abstain"))


def stood(number: int, version: str, *, cited: bool | None = True, at: float = NOON, team: str = "support") -> Grounded:
    event = closed(number, at=at, team=team)
    return Grounded(event, Grounds((UsedSource("help", "refunds.md", version, cited),)))


def over(database: Database, **current: str) -> Answers:
    async def now(document: str) -> dict[str, str]:
        return current if document == "refunds.md" else {}

    return Answers(AnswerStore(database), now)


async def kept(database: Database, *grounded: Grounded) -> None:
    await LedgerStore(database).ship([one.event for one in grounded], [], {}, grounded=grounded)


async def count(database: Database, table: str) -> int:
    async with database.session() as session:
        return int((await session.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one())  # our own


async def test_shipping_again_doubles_nothing(database: Database) -> None:
    one = Grounded(closed(1), Grounds((UsedSource("help", "a", "v1"), UsedSource("help", "b", "v1")), gap()))
    for _ in range(3):
        await kept(database, one, one)
    assert (await count(database, "answer_sources"), await count(database, "knowledge_gaps")) == (2, 1)


async def test_one_call_is_one_gap_however_many_attempts_it_took(database: Database) -> None:
    first = closed(1, id="call_1.1", last=False, at=NOON)
    second = closed(1, id="call_1.2", attempt=2, at=NOON + 3)
    await kept(database, Grounded(first, Grounds(gap=gap())), Grounded(second, Grounds(gap=gap())))
    assert await count(database, "knowledge_gaps") == 1


async def test_a_transaction_that_fails_leaves_neither_row_nor_gap(database: Database) -> None:
    async with database.session() as session:
        await session.execute(text("DROP TABLE knowledge_gaps"))
    with pytest.raises(Exception, match="knowledge_gaps"):
        await kept(database, Grounded(closed(1), Grounds((UsedSource("help", "a", "v1"),), gap())))
    assert (await count(database, "usage_events"), await count(database, "answer_sources")) == (0, 0)


async def test_what_a_killed_process_left_is_booked_once(database: Database, tmp_path: Path) -> None:
    """An answer that ended, one that was cut off, and one of which nothing was sent."""
    grounds = Grounds((UsedSource("help", "refunds.md", "v1"),), gap())
    ended = Final(closed(1), None, Grounds((UsedSource("help", "refunds.md", "v1", cited=True),), gap()))
    cut = closed(2, id="call_2.1", outcome="interrupted")
    unsent = closed(3, id="call_3.1", outcome="interrupted")
    records: list[Record] = [
        Intent(closed(1), None, grounds),
        ended,
        Intent(cut, None, grounds),
        Intent(unsent, None, grounds),
    ]
    records.append(Void("call_3.1"))
    (tmp_path / "j_dead.lock").touch()
    (tmp_path / "j_dead-000000.journal").write_bytes(b"".join(map(frame, records)))
    with books(tmp_path) as made:
        shipper = Shipper(made.ledger, LedgerStore(database), lambda _event: None)
        assert await shipper.recover() == 1
        assert await shipper.recover() == 0
    report = await over(database).impact("refunds.md")
    assert (report.affected, report.cited, report.unknown) == (2, 1, 1)
    assert await count(database, "knowledge_gaps") == 2


async def test_a_journal_of_the_version_before_is_read(database: Database, tmp_path: Path) -> None:
    with books(tmp_path) as made:
        made.journal.finish(Final(closed(1)))
        await Shipper(made.ledger, LedgerStore(database), lambda _event: None).ship_all()
    assert await count(database, "usage_events") == 1


async def test_impact_counts_answers_on_another_version_than_the_current_one(database: Database) -> None:
    await kept(
        database, stood(1, "v1"), stood(2, "v1", cited=False, at=NOON + 1, team="sales"), stood(3, "v2", at=NOON + 2)
    )
    now = await over(database, help="v2").impact("refunds.md")
    assert (now.affected, now.cited, now.up_to_date) == (2, 1, 1)
    assert [(one.call_id, one.version, one.current_version, one.cited) for one in now.listed] == [
        ("call_2", "v1", "v2", False),
        ("call_1", "v1", "v2", True),
    ]
    assert (now.teams, now.versions) == ({"sales": 1, "support": 1}, {"help@v1": 2})
    assert (await over(database, help="v2").impact("refunds.md", team="sales")).affected == 1
    assert (await over(database, help="v2").impact("refunds.md", since="2026-11-23T12:00:01+00:00")).affected == 1
    assert (await over(database, help="v2").impact("refunds.md", "other")).affected == 0


async def test_of_a_document_that_is_gone_every_answer_is_affected(database: Database) -> None:
    await kept(database, stood(1, "v1"), stood(2, "v2"))
    report = await over(database).impact("refunds.md")
    assert (report.affected, report.up_to_date, report.listed[0].current_version) == (2, 0, None)
    assert (await over(database).impact("unheard.md")).affected == 0


async def test_the_list_is_cut_and_the_counts_are_not(database: Database) -> None:
    await kept(database, *(stood(number, "v1") for number in range(1, 8)))
    report = await over(database, help="v2").impact("refunds.md", limit=3)
    assert (report.affected, len(report.listed)) == (7, 3)


async def test_gaps_are_put_together_by_what_they_are_about(database: Database) -> None:
    asked = ["What does the quokka parcel cost?", "quokka parcel costs", "Do you ship to Norway?", ""]
    await kept(
        database,
        *(Grounded(closed(n), Grounds(gap=gap(words, NOON + n))) for n, words in enumerate(asked, 1)),
        Grounded(closed(9, team="sales"), Grounds(gap=gap("How much is a quokka parcel?"))),
    )
    report = await over(database).gaps()
    assert (report.total, report.without_words, report.is_cut) == (5, 1, False)
    first, second = report.clusters
    assert (first.count, first.teams) == (3, {"support": 2, "sales": 1})
    assert second.samples == ("Do you ship to Norway?",)
    assert (await over(database).gaps(team="sales")).total == 1
    assert (await over(database).gaps("unheard")).total == 0
    with pytest.raises(InvalidRequest):
        await over(database).gaps(since="yesterday")


async def test_older_gaps_of_one_collection_are_not_hidden_by_newer_ones_of_others(database: Database) -> None:
    def asked(words: str, at: float, *names: str) -> Grounds:
        return Grounds(gap=msgspec.structs.replace(gap(words, at), collections=names))

    names = [("help", "desk"), ("help2",), ("my_help",), ("helpx", "xhelp"), ("HELP",), ("my-help",)]
    await kept(
        database,
        *(Grounded(closed(n), asked(f"number {n}", NOON + n, *them)) for n, them in enumerate(names, 1)),
    )
    store = AnswerStore(database)
    for name, number in (("help", 1), ("desk", 1), ("my_help", 3), ("xhelp", 4)):
        assert [one.question for one in await store.unanswered(None, None, None, 1, name)] == [f"number {number}"]
    assert await store.unanswered(None, None, None, 1, "elp") == []


async def test_old_rows_go_with_their_month(database: Database) -> None:
    await kept(database, Grounded(closed(1), Grounds((UsedSource("help", "a", "v1"),), gap())))
    await keep_up(database, NOON + 70 * DAY, 1)
    assert (await count(database, "answer_sources"), await count(database, "knowledge_gaps")) == (0, 0)
    assert await count(database, "usage_events") == 0


async def test_words_that_a_database_does_not_take_hold_up_nothing(database: Database) -> None:
    odd = UsedSource("help", "a\0b", "v\0")
    await kept(database, Grounded(closed(1), Grounds((odd,), gap("what \0 now?"))))
    assert await count(database, "knowledge_gaps") == 1
