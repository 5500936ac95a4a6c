"""What is heard is bounded in memory and waits for a database that is away; of another team nothing is heard."""

import json
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from sqlalchemy.exc import OperationalError

from gateway.capturing import MOST_BYTES, MOST_WAITING_BYTES, Capturing
from gateway.core.call import Call
from gateway.core.clock import Clock
from gateway.db.engine import Database
from gateway.db.schema import upgrade
from gateway.policy.load import Rulebook
from gateway.shadow import Nobody
from gateway.tuning.captured.store import CapturedCalls
from gateway.tuning.captured.values import CallsAsked
from tests.fakes.calls import DIRECT, NOON, SUPPORT, chat, decided
from tests.fakes.rulebook import rulebook

TEAMS = "teams:\n  support: {capture: {days: 2}}\n  other: {}\n"


def answer(text: str) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return json.dumps({"id": "chatcmpl-1", "choices": [choice]}).encode()


def numbered(number: int, text: str = "Hello") -> Call:
    call = chat(messages=[{"role": "user", "content": text}])
    return msgspec.structs.replace(call, inbound=msgspec.structs.replace(call.inbound, call_id=f"call_{number}"))


class Kept:
    """A Capturing over a database that is not there yet, and what it counted."""

    def __init__(self, folder: Path, teams: str = TEAMS) -> None:
        self.database = Database(f"sqlite+aiosqlite:///{folder / 'kept.db'}")
        self.store = CapturedCalls(self.database)
        self.counts: Counter[str] = Counter()
        self.rulebook: Rulebook = rulebook(teams=teams)
        clock = Clock(lambda: NOON, lambda: 0.0)
        self.capturing = Capturing(self.store, lambda: self.rulebook, self.count, clock, sweeps=False)

    def count(self, team: str, result: str) -> None:
        self.counts[f"{team} {result}"] += 1

    async def hear(self, number: int, said: bytes, text: str = "Hello") -> None:
        heard = self.capturing.heard(numbered(number, text), SUPPORT, Nobody())
        assert heard is not None
        await heard.whole(200, (), said)
        self.capturing.keep(heard, decided(), DIRECT)

    async def ids(self) -> list[str]:
        return [call.id async for call in self.store.read(CallsAsked("support"), NOON)]


async def test_what_a_database_did_not_take_is_written_when_it_is_back(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    await kept.hear(1, answer("Good day."))
    with pytest.raises(OperationalError):
        await kept.capturing.write()
    await kept.hear(2, answer("Good day."))
    await upgrade(kept.database)
    await kept.capturing.write()
    assert await kept.ids() == ["call_1", "call_2"]
    assert kept.counts == {"support kept": 2}
    await kept.database.close()


async def test_a_call_that_is_too_large_and_one_without_an_answer_are_counted_and_not_kept(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    await upgrade(kept.database)
    await kept.hear(1, answer("x" * MOST_BYTES))
    await kept.hear(2, answer("fine"), "x" * MOST_BYTES)
    await kept.hear(3, b'{"error":{"message":"no"}}')
    await kept.capturing.write()
    assert await kept.ids() == []
    assert kept.counts == {"support too_large": 2, "support unreadable": 1}
    await kept.database.close()


async def test_a_long_stream_of_a_short_answer_is_kept(tmp_path: Path) -> None:
    """Its events have two hundred bytes a token."""
    kept = Kept(tmp_path)
    await upgrade(kept.database)
    heard = kept.capturing.heard(numbered(1), SUPPORT, Nobody())
    assert heard is not None
    await heard.start(200, ())
    words = 3_000
    for number in range(words):
        ended = "stop" if number == words - 1 else None
        choice = {
            "index": 0,
            "delta": {"content": "word "},
            "finish_reason": ended,
            "logprobs": None,
            "filler": "x" * 100,
        }
        await heard.write(b"data: %b\n\n" % json.dumps({"id": "chatcmpl-1", "choices": [choice]}).encode())
    await heard.end()
    assert heard.size > MOST_BYTES
    kept.capturing.keep(heard, decided(), DIRECT)
    await kept.capturing.write()
    found = await kept.store.find("call_1", NOON)
    assert found is not None
    assert json.loads(found.answer)["content"] == "word " * words
    await kept.database.close()


async def test_memory_is_bounded_while_nothing_is_written(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    said = answer("x" * (MOST_BYTES - 1_000))
    most = MOST_WAITING_BYTES // len(said)
    for number in range(most + 3):
        await kept.hear(number, said)
    assert kept.counts["support full"] >= 3
    assert kept.counts["support kept"] == 0
    await kept.database.close()


async def test_a_nul_does_not_reach_the_database_and_other_escapes_do(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    await upgrade(kept.database)
    await kept.hear(1, answer("a\0b and \\u0000 as text"))
    await kept.capturing.write()
    found = await kept.store.find("call_1", NOON)
    assert found is not None
    assert json.loads(found.answer)["content"] == "ab and \\u0000 as text"
    assert found.expires_at == NOON + 2 * 86_400
    await kept.database.close()


def test_only_teams_that_opted_in_are_heard_and_only_their_share(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    assert kept.capturing.terms.keys() == {"support"}
    few = Kept(tmp_path, "teams:\n  support: {capture: {share: 0.3}}\n")
    heard = [few.capturing.heard(numbered(1), SUPPORT, Nobody()) for _ in range(2_000)]
    assert 450 < len([one for one in heard if one is not None]) < 750
