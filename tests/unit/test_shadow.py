import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from gateway.core.call import Call, Principal
from gateway.core.decision import Arm, Shadow
from gateway.core.facts import Evidence, KnowledgeSignal
from gateway.knowledge.filters import Filter
from gateway.knowledge.fusion import Fusion
from gateway.knowledge.ingest import EmbeddingUse
from gateway.ledger.records import Intent
from gateway.paths.lookups import LookUps
from gateway.paths.prepare import Paths
from gateway.paths.rag import Sources
from gateway.shadow import MOST_AT_ONCE, Shadows
from gateway.tuning.tasks import Tasks
from gateway.upstream.faults import ConnectFailed
from tests.fakes.books import Books, books
from tests.fakes.caller import settled
from tests.fakes.calls import HELLO, SUPPORT, chat, decided, facts, hit, read
from tests.fakes.scripted_transport import JSON, Act, Says
from tests.fakes.sending import Stage

OTHER = Arm(path="direct", upstream="main", model="gpt-4.1-mini")
UNPRICED = Arm(path="direct", upstream="main", model="nobody-knows-its-price")
RAG = Arm(path="rag", upstream="main", model="gpt-4.1-mini", collections=("help-centre",))
ANSWER = json.dumps({"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 10}}).encode()
# 1,000 nano-dollars for a token in, 2,000 for one out.
COST = 100 * 1_000 + 10 * 2_000
A_DOLLAR = 10**9


def served() -> Says:
    return Says(200, ANSWER, headers=JSON)


class Shelf:
    """A library that has every question embedded. searched: for which teams."""

    def __init__(self) -> None:
        self.searched: list[str] = []

    def permitted(self, collections: Sequence[str], team: str) -> tuple[str, ...]:
        return tuple(collections) if team else ()

    async def search(
        self,
        text: str,
        collections: Sequence[str],
        team: str,
        limit: int = 8,
        booked: Callable[[EmbeddingUse], None] | None = None,
        *,
        local_only: bool = False,
        filter: Filter | None = None,  # noqa: A002 - as `Search` has it
        fusion: Fusion | None = None,
        threshold: float = 0.0,
    ) -> KnowledgeSignal:
        assert booked is not None
        assert (text, limit, local_only) == ("Hello", 8, False)
        assert (filter, fusion, threshold) == (None, None, 0.0)
        self.searched.append(team)
        booked(EmbeddingUse(collections[0], "fake:1", "query", 1, 7))
        return KnowledgeSignal(0.9, (hit("Ten days."),), "v7")

    async def measure(
        self,
        turn: str,
        talk: str,
        collections: Sequence[str],
        team: str,
        booked: Callable[[EmbeddingUse], None] | None = None,
        *,
        local_only: bool = False,
    ) -> tuple[str, tuple[tuple[str, Evidence], ...]]:
        raise AssertionError(f"a copy is not decided on: {turn, talk, collections, team, booked, local_only}")


class Copier:
    """Shadows over a script. told: the result of each copy that was due. embedded: by whom."""

    def __init__(self, made: Books, *acts: Act) -> None:
        self.books = made
        self.stage = Stage(*acts, attempts=1)
        self.shelf = Shelf()
        self.embedded: list[str] = []
        self.told: list[str] = []
        sources = Sources(
            self.shelf,
            1_000,
            lambda _names, _result, _seconds: None,
            lambda principal, _use, _call: self.embedded.append(principal.team),
        )
        paths = Paths(self.stage.upstreams, LookUps(sources, Tasks({}, None, Path("nowhere"))))
        self.shadows = Shadows(
            made.ledger, paths, self.stage.sender, made.hands.clock(), lambda _rule, result: self.told.append(result)
        )

    def begin(
        self,
        arm: Arm | None = OTHER,
        limit: int = A_DOLLAR,
        principal: Principal = SUPPORT,
        call: Call | None = None,
    ) -> None:
        shadow = None if arm is None else Shadow(arm, limit)
        self.shadows.begin(call or chat(), principal, decided(shadow=shadow), facts())

    async def done(self, count: int = 1) -> None:
        await settled(lambda: len(self.told) >= count)

    @property
    def money(self) -> tuple[int | None, int, int]:
        """The rule's cap, what it has spent, and what it holds for copies in flight."""
        return self.shadows.spent.state("a-rule")


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Books]:
    with books(tmp_path) as opened:
        opened.budget(A_DOLLAR)
        yield opened


async def test_a_copy_goes_to_the_other_arm_on_the_operators_account(made: Books) -> None:
    copier = Copier(made, served())
    copier.begin()
    await copier.done()
    assert copier.told == ["made"]
    (event,) = made.observed
    assert (event.team, event.key_id, event.endpoint, event.model) == ("gateway", "", "shadow", "gpt-4.1-mini")
    assert (event.outcome, event.cost_nano_usd, event.rule) == ("ok", COST, "a-rule")
    assert made.money() == (A_DOLLAR, 0, 0)
    assert copier.money == (A_DOLLAR, COST, 0)


async def test_a_copy_has_no_decision_of_its_own(made: Books) -> None:
    """The caller's call has it; the same id twice would be one row too many."""
    copier = Copier(made, served())
    copier.begin()
    await copier.done()
    assert [record.decision for record in made.records() if isinstance(record, Intent)] == [None]


async def test_no_shadow_no_copy(made: Books) -> None:
    copier = Copier(made)
    copier.begin(None)
    await asyncio.sleep(0)
    assert (copier.told, copier.stage.bodies, made.observed) == ([], [], [])


async def test_what_has_no_price_is_never_copied_to(made: Books) -> None:
    copier = Copier(made)
    copier.begin(UNPRICED)
    assert copier.told == ["unpriced"]
    assert copier.stage.bodies == []


async def test_copies_end_where_the_months_money_would(made: Books) -> None:
    ceiling = made.ledger.ceiling(chat(), OTHER, facts().today)
    assert ceiling is not None
    copier = Copier(made, served(), served())
    copier.begin(limit=ceiling + COST)
    copier.begin(limit=ceiling + COST)
    assert copier.told == ["spent"], "what the first may cost at most is set aside"
    await copier.done(2)
    copier.begin(limit=ceiling + COST)
    await copier.done(3)
    copier.begin(limit=ceiling + COST)
    assert copier.told == ["spent", "made", "made", "spent"]
    assert copier.money == (ceiling + COST, 2 * COST, 0)


async def test_a_cap_that_one_copy_may_pass_allows_none(made: Books) -> None:
    copier = Copier(made)
    copier.begin(limit=1_000)
    assert copier.told == ["spent"]


async def test_a_new_month_has_its_own_money(made: Books) -> None:
    ceiling = made.ledger.ceiling(chat(), OTHER, facts().today) or 0
    copier = Copier(made, served(), served())
    copier.begin(limit=ceiling)
    await copier.done()
    copier.begin(limit=ceiling)
    made.hands.turn(31 * 86_400)
    copier.begin(limit=ceiling)
    await copier.done(3)
    assert copier.told == ["made", "spent", "made"]


@pytest.mark.parametrize("status", [500, 400, 401, None])
async def test_a_copy_that_fails_is_told_as_failed_and_gives_its_money_back(made: Books, status: int | None) -> None:
    copier = Copier(made, ConnectFailed("away") if status is None else Says(status, b"{}", headers=JSON))
    copier.begin()
    await copier.done()
    assert copier.told == ["failed"]
    assert copier.money == (A_DOLLAR, 0, 0)
    assert [event.team for event in made.observed] == ["gateway"]
    assert made.journal.all_settled


async def test_only_a_few_copies_are_made_at_once(made: Books) -> None:
    slow = [Says(200, 5.0, ANSWER, headers=JSON) for _ in range(MOST_AT_ONCE)]
    copier = Copier(made, *slow, served())
    for _ in range(MOST_AT_ONCE + 2):
        copier.begin()
    assert copier.told == ["busy", "busy"]
    await settled(lambda: len(copier.stage.bodies) == MOST_AT_ONCE)
    await copier.shadows.stop()
    assert copier.told[2:] == ["failed"] * MOST_AT_ONCE
    copier.begin()
    await copier.done(MOST_AT_ONCE + 3)
    assert copier.told[-1] == "made"


async def test_a_copy_that_is_cut_off_is_booked_with_its_prompt(made: Books) -> None:
    copier = Copier(made, Says(200, 5.0, ANSWER, headers=JSON))
    copier.begin()
    await settled(lambda: bool(copier.stage.bodies))
    await copier.shadows.stop()
    (event,) = made.observed
    assert (event.outcome, event.team, event.endpoint) == ("interrupted", "gateway", "shadow")
    assert event.usage is not None
    assert (event.usage.source, event.usage.input_tokens) == ("estimated", chat().prompt_tokens_estimate)
    assert copier.money == (A_DOLLAR, event.cost_nano_usd, 0)
    assert made.journal.all_settled


async def test_a_copy_on_the_rag_path_reads_as_the_callers_team_and_pays_as_the_operator(made: Books) -> None:
    copier = Copier(made, served())
    copier.begin(RAG, principal=Principal(team="board", key_id="k", key_name="n"))
    await copier.done()
    assert b"Ten days." in copier.stage.bodies[0]
    assert copier.shelf.searched == ["board"]
    assert copier.embedded == ["gateway"]


async def test_a_copy_is_not_passed_off_as_the_callers_own_request(made: Books) -> None:
    """With its idempotency key a provider would give the first reply again, or refuse."""
    copier = Copier(made, served())
    copier.begin(call=read(HELLO, headers=((b"idempotency-key", b"once"), (b"openai-beta", b"x"))))
    await copier.done()
    ((_, outgoing, _),) = copier.stage.transport.asked
    names = [name for name, _ in outgoing.headers]
    assert b"idempotency-key" not in names
    assert b"openai-beta" in names
