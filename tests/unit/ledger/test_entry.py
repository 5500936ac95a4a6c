from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.core.decision import Arm
from gateway.core.errors import AccountingUnavailable, BudgetExceeded, Unpriced
from gateway.core.event import Closing
from gateway.core.usage import Usage
from gateway.ledger.entry import Entry, EntryClosedError
from gateway.ledger.records import Final, Intent, Void
from gateway.pricing.overlay import Price, PriceOverlay
from gateway.pricing.table import table_from
from tests.fakes.books import Books, books
from tests.fakes.calls import DIRECT, SUPPORT, chat, decided, facts, read

OK = Closing("ok", 200, usage=Usage(100, 10))
COST = 100 * 1_000 + 10 * 2_000


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Books]:
    with books(tmp_path) as opened:
        yield opened


def opened(made: Books, *arms: Arm, **fields: object) -> Entry:
    return made.open(chat(**fields), SUPPORT, decided(*arms), facts())


def test_intent_comes_before_the_call_and_the_end_before_the_callers_last_byte(made: Books) -> None:
    entry = opened(made)
    assert made.records() == []
    entry.start(DIRECT)
    (intent,) = made.records()
    assert isinstance(intent, Intent)
    assert (intent.event.outcome, intent.event.id) == ("interrupted", f"{entry.call_id}.1")
    assert intent.decision is not None
    event = entry.close(OK)
    final = made.records()[-1]
    assert isinstance(final, Final)
    assert final.event == event
    assert made.observed == [event]


def test_an_entry_is_closed_exactly_once(made: Books) -> None:
    entry = opened(made)
    entry.start(DIRECT)
    entry.close(OK)
    with pytest.raises(EntryClosedError):
        entry.close(OK)
    assert len(made.observed) == 1


def test_cost_is_the_sum_of_its_kinds_to_the_nano_dollar(made: Books) -> None:
    entry = opened(made)
    entry.start(DIRECT)
    event = entry.close(OK)
    assert event.cost_nano_usd == sum(nano for _, nano in event.cost_by_kind) == COST
    assert (event.cost_status, event.price_source) == ("priced", "policies/prices.yaml")


def test_the_dearest_arm_is_reserved_and_given_back(made: Books) -> None:
    made.budget(10**12)
    entry = opened(made, DIRECT, DIRECT, max_tokens=100, n=2)
    _, _, reserved = made.money()
    prompt = len(chat(max_tokens=100, n=2).inbound.body) // 2 + 1
    assert reserved == prompt * 1_000 + 2 * 100 * 2_000
    entry.start(DIRECT)
    entry.close(OK)
    assert made.money() == (10**12, COST, 0)


def test_a_call_that_cannot_be_paid_is_refused_before_anything_is_written(made: Books) -> None:
    made.budget(1_000)
    with pytest.raises(BudgetExceeded):
        opened(made)
    assert made.records() == []
    assert made.money() == (1_000, 0, 0)


def test_a_model_without_a_price_is_refused_under_a_hard_budget_and_left_out_as_a_fallback(made: Books) -> None:
    unpriced = Arm(path="direct", upstream="main", model="nobody-knows-its-price")
    assert opened(made, unpriced).arms == (unpriced,)
    made.budget(10**12)
    with pytest.raises(Unpriced, match=r"prices\.yaml"):
        opened(made, unpriced, DIRECT)
    assert opened(made, DIRECT, unpriced).arms == (DIRECT,)


def test_what_is_on_trial_without_a_price_is_left_out_under_a_hard_budget_and_its_champion_decides(made: Books) -> None:
    canary = Arm(path="fine_tuned", upstream="main", model="nobody-knows-its-price", line="tone", is_canary=True)
    unpriced = Arm(path="direct", upstream="main", model="nor-this-one")
    made.budget(10**12)
    assert opened(made, canary, DIRECT).arms == (DIRECT,)
    with pytest.raises(Unpriced):
        opened(made, canary, unpriced)


def test_the_dearer_of_a_model_and_its_successor_is_reserved(made: Books) -> None:
    made.budget(10**12)
    opened(made, DIRECT)
    alone = made.money()[2]
    successor = Arm(path="rag", upstream="main", model="gpt-4.1-mini", collections=("help-centre",))
    made.ledger.context_tokens = 4_000
    opened(made, replace(DIRECT, successor=successor))
    assert made.money()[2] - alone == alone + 4_000 * 1_000


def test_a_dearer_tier_is_reserved_at_its_own_rates_and_refused_without_any(tmp_path: Path) -> None:
    entry = Price.model_validate(
        {
            "models": ("gpt-4.1-mini",),
            "input": "1.00",
            "output": "2.00",
            "source": "the tests",
            "read_on": date(2026, 11, 1),
            "tiers": {"priority": {"input": "2.00", "output": "4.00"}},
        }
    )
    with books(tmp_path, table_from(PriceOverlay(prices=(entry,)))) as made:
        made.budget(10**12)
        reserved: list[int] = []
        for tier in (None, "auto", "priority"):
            opened(made, max_tokens=100, **({"service_tier": tier} if tier else {}))
            reserved.append(made.money()[2] - sum(reserved))
        assert reserved[2] > 1.9 * reserved[0]
        with pytest.raises(Unpriced):
            opened(made, service_tier="scale")


def test_a_row_names_the_budgets_that_it_is_charged_to(made: Books) -> None:
    made.budget(10**12)
    entry = opened(made)
    entry.start(DIRECT)
    assert entry.close(OK).pools == ("team/support/month@2026-11-01",)


def test_a_negative_cap_does_not_talk_the_reservation_down(made: Books) -> None:
    made.budget(10**12)
    opened(made, max_tokens=-(10**9))
    prompt = len(chat(max_tokens=-(10**9)).inbound.body) // 2 + 1
    assert made.money()[2] == prompt * 1_000


def test_each_attempt_that_was_sent_is_a_row_and_only_one_is_the_last(made: Books) -> None:
    made.budget(10**12)
    entry = opened(made)
    entry.start(DIRECT)
    entry.fail(entry.closing_of_prompt(Closing("timeout", 504, "upstream_timeout")))
    entry.start(DIRECT)
    entry.void()
    entry.start(DIRECT)
    entry.close(OK)
    rows = [(event.attempt, event.last, event.outcome) for event in made.observed]
    assert rows == [(1, False, "timeout"), (3, True, "ok")]
    assert made.observed[0].usage == Usage(made.observed[0].usage.input_tokens, 0, source="estimated")  # type: ignore[union-attr]
    assert [type(record) for record in made.records()] == [Intent, Final, Intent, Void, Intent, Final]
    assert made.journal.all_settled
    assert sum(event.cost_nano_usd or 0 for event in made.observed) == made.money()[1]


def test_the_decision_is_recorded_once_per_call(made: Books) -> None:
    entry = opened(made)
    entry.start(DIRECT)
    entry.fail(Closing("upstream_error", 503, "upstream_failed"))
    entry.start(DIRECT)
    entry.close(OK)
    held = [record.decision for record in made.records() if isinstance(record, (Intent, Final)) and record.decision]
    assert [one.id for one in held] == ["dec_1"]


def test_who_leaves_after_sending_pays_for_the_prompt(made: Books) -> None:
    entry = opened(made)
    entry.start(DIRECT, context_tokens=50)
    event = entry.close(Closing("caller_left", 499, "caller_left"))
    assert event.usage is not None
    assert event.usage.input_tokens == chat().prompt_tokens_estimate + 50
    assert (event.usage.source, event.cost_status, event.context_tokens) == ("estimated", "estimated", 50)


def test_an_attempt_that_the_upstream_refused_costs_nothing(made: Books) -> None:
    entry = opened(made)
    entry.start(DIRECT)
    event = entry.close(Closing("upstream_error", 400, "upstream_refused"))
    assert (event.usage, event.cost_nano_usd, event.cost_status) == (None, 0, "free")


def test_an_unknown_price_is_none_and_never_zero(made: Books) -> None:
    arm = Arm(path="direct", upstream="main", model="nobody-knows-its-price")
    entry = opened(made, arm)
    entry.start(arm)
    event = entry.close(OK)
    assert (event.cost_nano_usd, event.cost_by_kind, event.cost_status) == (None, (), "unpriced")


def test_an_answer_of_our_own_is_booked_as_free(made: Books) -> None:
    """No upstream was asked: attempt 0, and the end is in the journal all the same."""
    entry = opened(made)
    event = entry.close(Closing("ok", 200))
    assert (event.attempt, event.cost_nano_usd) == (0, 0)
    (final,) = made.records()
    assert isinstance(final, Final)
    assert final.decision is not None


@pytest.mark.parametrize(("model", "cost"), [("gpt-image-1", None), ("", 0)])
def test_a_passed_on_call_without_usage_is_unpriced_when_it_may_cost(made: Books, model: str, cost: int | None) -> None:
    call = read({"model": model} if model else {}, "/v1/images/generations")
    arm = Arm(path="passthrough", upstream="main", model=model)
    entry = made.open(call, SUPPORT, decided(arm), facts())
    entry.start(arm)
    assert entry.close(Closing("ok", 200)).cost_nano_usd == cost


def test_a_refused_call_is_counted_and_has_no_row_of_its_own(made: Books) -> None:
    made.ledger.refused(chat(), SUPPORT, None, None, Closing("refused", 401, "invalid_api_key"))
    assert [event.attempt for event in made.observed] == [0]
    assert made.records() == []
    made.ledger.refused(chat(), SUPPORT, decided(refusal="No."), facts(), Closing("refused", 403, "policy_refused"))
    (kept,) = made.records()
    assert isinstance(kept, Final)
    assert kept.decision is not None
    assert kept.decision.refusal == "No."


def test_nothing_is_sent_when_the_journal_cannot_be_written(tmp_path: Path) -> None:
    with books(tmp_path, segment_bytes=1) as made:
        made.budget(10**12)
        entry = opened(made)
        entry.start(DIRECT)
        entry.fail(Closing("upstream_error", 503, "upstream_failed"))
        tmp_path.chmod(0o500)
        blocked = tmp_path / f"{made.journal.process}-{made.journal.number + 1:06d}.journal"
        blocked.mkdir(mode=0o700)
        try:
            with pytest.raises(AccountingUnavailable):
                entry.start(DIRECT)
        finally:
            tmp_path.chmod(0o700)
            blocked.rmdir()
        entry.close(Closing("upstream_error", 503, "accounting_unavailable"))
        assert made.money() == (10**12, 0, 0)
