"""At least once, with the effect of exactly once: replayed, shuffled, interleaved, the sums stay to the nano-dollar."""

import random
from pathlib import Path

import pytest

from gateway.core.event import Closing, UsageEvent
from gateway.core.usage import Usage
from gateway.ledger.records import Final, Intent, frame
from gateway.ledger.shipper import Shipper
from tests.fakes.books import Books, books
from tests.fakes.calls import DIRECT, SUPPORT, chat, closed, decided, facts
from tests.fakes.database import database
from tests.fakes.row_sums import SummedStore


def many(chance: random.Random, count: int) -> list[UsageEvent]:
    made = []
    for number in range(count):
        cost = chance.choice([None, 0, chance.randrange(10**12)])
        team = chance.choice(["support", "sales", "legal"])
        made.append(closed(number, team=team, cost_nano_usd=cost, usage=Usage(chance.randrange(10**6), 3)))
    return made


@pytest.mark.parametrize("seed", range(3))
async def test_shipping_each_row_three_times_in_any_order_adds_it_once(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    events = many(chance, 700)
    thrice = events * 3
    chance.shuffle(thrice)
    async with database(tmp_path) as opened:
        store = SummedStore(opened)
        while thrice:
            size = chance.randrange(1, 900)
            await store.ship(thrice[:size], [], {})
            del thrice[:size]
        (total,) = await store.sums(())
        assert total.attempts == len(events)
        assert total.cost_nano_usd == sum(event.cost_nano_usd or 0 for event in events)
        assert total.input_tokens == sum(event.usage.input_tokens for event in events if event.usage)
        spent = {amounts.group["team"]: amounts.cost_nano_usd for amounts in await store.sums(("team",))}
    for team in ("support", "sales", "legal"):
        assert spent[team] == sum(event.cost_nano_usd or 0 for event in events if event.team == team)


def call(made: Books, outcome: str) -> None:
    """One call, ended as `outcome` says; '' leaves it without an end, as a killed process does."""
    entry = made.open(chat(), SUPPORT, decided(), facts())
    entry.start(DIRECT)
    if outcome == "void":
        entry.void()
        entry.close(Closing("upstream_error", 502, "upstream_failed"))
    elif outcome == "ok":
        entry.close(Closing("ok", 200, usage=Usage(100, 10)))
    elif outcome == "left":
        entry.close(Closing("caller_left", 499, "caller_left"))


@pytest.mark.parametrize("seed", range(4))
async def test_a_killed_process_leaves_one_row_for_each_call_it_had_sent(tmp_path: Path, seed: int) -> None:
    """Shipped in part, killed, found by the next process, found again: nothing is missing and nothing there twice."""
    chance = random.Random(seed)
    outcomes = [chance.choice(["ok", "left", "void", ""]) for _ in range(60)]
    async with database(tmp_path) as opened:
        store = SummedStore(opened)
        with books(tmp_path / "journal", segment_bytes=chance.choice([2_000, 1 << 24])) as dying:
            shipper = Shipper(dying.ledger, store, dying.observed.append)
            for outcome in outcomes:
                call(dying, outcome)
                if chance.random() < 0.1:
                    await shipper.ship_all()
        with books(tmp_path / "journal") as living:
            shipper = Shipper(living.ledger, store, living.observed.append)
            assert await shipper.recover() == outcomes.count("")
            assert await shipper.recover() == 0
            assert [event.outcome for event in living.observed] == ["interrupted"] * outcomes.count("")
        (total,) = await store.sums(())
        booked = [*(event for event in dying.observed if event.attempt), *living.observed]
        assert total.attempts == len(outcomes) - outcomes.count("void")
        assert total.cost_nano_usd == sum(event.cost_nano_usd or 0 for event in booked)
        assert {path.suffix for path in (tmp_path / "journal").iterdir()} == {".journal", ".lock"}
        assert len(list((tmp_path / "journal").glob("*.lock"))) == 1


async def test_recovery_that_is_itself_killed_begins_again(tmp_path: Path) -> None:
    """The rows were committed and the files not yet removed: the next one ships them once more, to no effect."""
    folder = tmp_path / "journal"
    folder.mkdir()
    orphan = closed(2, outcome="interrupted")
    async with database(tmp_path) as opened:
        store = SummedStore(opened)
        for _ in range(3):
            (folder / "j_dead.lock").touch()
            (folder / "j_dead-000000.journal").write_bytes(
                frame(Intent(closed(1))) + frame(Final(closed(1))) + frame(Intent(orphan))
            )
            with books(folder) as living:
                await Shipper(living.ledger, store, living.observed.append).recover()
        (total,) = await store.sums(())
        assert total.attempts == 2


async def test_shipped_segments_go_in_order_and_none_after_money_in_flight(tmp_path: Path) -> None:
    async with database(tmp_path) as opened:
        store = SummedStore(opened)
        with books(tmp_path / "journal", segment_bytes=1) as made:
            shipper = Shipper(made.ledger, store, made.observed.append)
            entry = made.open(chat(), SUPPORT, decided(), facts())
            entry.start(DIRECT)
            for _ in range(5):
                call(made, "ok")
            await shipper.ship_all()
            assert len(list(made.journal.folder.glob("*.journal"))) == made.journal.number + 1
            assert shipper.pending_events == 0
            entry.close(Closing("ok", 200, usage=Usage(1, 1)))
            await shipper.ship_all()
            assert len(list(made.journal.folder.glob("*.journal"))) == 1
            (total,) = await store.sums(())
            assert total.attempts == 6
