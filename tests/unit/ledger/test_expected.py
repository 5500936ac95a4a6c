from datetime import date
from typing import Any

import pytest

from gateway.core.call import Call
from gateway.core.decision import Arm, Decision, Shadow
from gateway.core.usage import Usage
from gateway.ledger.expected import FIRST_OUTPUT, MAX_MODELS, MOST_NANO_USD, Expected
from gateway.ledger.records import ArmCost
from gateway.pricing.overlay import Price, PriceOverlay
from gateway.pricing.table import PriceTable, table_from
from tests.fakes.books import prices
from tests.fakes.calls import DIRECT, chat, closed, decided, read

DAY = date(2026, 11, 23)
UNPRICED = Arm(path="direct", upstream="main", model="nobody-knows-its-price")
RAG = Arm(path="rag", upstream="main", model="gpt-4.1-mini", collections=("help-centre",))
TUNED = Arm(path="fine_tuned", upstream="main", model="ft:gpt-4.1-mini:acme", line="tone", version=1)


def costs(
    decision: Decision, call: Call | None = None, expected: Expected | None = None, table: PriceTable | None = None
) -> list[ArmCost]:
    return list((expected or Expected()).arm_costs(call or chat(), decision, table or prices(), 1_000, DAY))


def test_every_arm_has_its_role_the_chosen_one_first() -> None:
    shadow = Shadow(TUNED, 10**9)
    told = costs(decided(DIRECT, RAG, UNPRICED, others=(TUNED,), shadow=shadow))
    assert [(cost.role, cost.arm) for cost in told] == [
        ("chosen", DIRECT),
        ("fallback", RAG),
        ("fallback", UNPRICED),
        ("other", TUNED),
        ("shadow", TUNED),
    ]
    assert costs(Decision("dec_1", "no", (), (), "0", decided().names, decided().features, refusal="No.")) == []


def test_a_cost_is_tokens_times_price_and_none_without_a_price() -> None:
    """1,000 nano-dollars for a token in and 2,000 for one out; sources are a part of what goes in."""
    prompt = chat().prompt_tokens_estimate
    direct, rag, unknown = costs(decided(DIRECT, RAG, UNPRICED))
    assert (direct.input_tokens, direct.output_tokens) == (prompt, FIRST_OUTPUT)
    assert direct.nano_usd == prompt * 1_000 + FIRST_OUTPUT * 2_000
    assert (rag.input_tokens, rag.nano_usd) == (prompt + 1_000, (prompt + 1_000) * 1_000 + FIRST_OUTPUT * 2_000)
    assert unknown.nano_usd is None


def test_the_callers_own_limit_bounds_what_is_expected() -> None:
    assert costs(decided(), chat(max_tokens=10))[0].output_tokens == 10
    assert costs(decided(), chat(max_tokens=10, n=3))[0].output_tokens == 30
    assert costs(decided(), chat(max_tokens=-5))[0].nano_usd == chat(max_tokens=-5).prompt_tokens_estimate * 1_000
    assert costs(decided(), chat(max_tokens=10**9))[0].output_tokens == FIRST_OUTPUT


def test_the_usual_length_is_learned_from_served_replies() -> None:
    expected = Expected()
    expected.learn(closed(usage=Usage(10, 100)))
    assert expected.output_tokens("gpt-4.1-mini", None) == 100
    expected.learn(closed(usage=Usage(10, 200)))
    assert expected.output_tokens("gpt-4.1-mini", None) == 105
    for _ in range(200):
        expected.learn(closed(usage=Usage(10, 20)))
    assert expected.output_tokens("gpt-4.1-mini", None) == 20
    assert expected.output_tokens("gpt-4.1-mini", 7) == 7
    assert expected.output_tokens("another", None) == FIRST_OUTPUT


@pytest.mark.parametrize(
    "fields",
    [{"outcome": "caller_left"}, {"outcome": "upstream_error", "usage": None}, {"outcome": "ok", "usage": None}],
)
def test_what_was_not_served_whole_teaches_nothing(fields: dict[str, Any]) -> None:
    expected = Expected()
    expected.learn(closed(**fields))
    assert expected.output_tokens("gpt-4.1-mini", None) == FIRST_OUTPUT


def test_names_that_callers_invent_do_not_pile_up() -> None:
    expected = Expected()
    for number in range(MAX_MODELS + 50):
        expected.learn(closed(model=f"m-{number}", usage=Usage(1, 5)))
    assert expected.output_tokens("m-0", None) == 5
    assert expected.output_tokens(f"m-{MAX_MODELS}", None) == FIRST_OUTPUT


def test_embeddings_have_no_output_to_pay() -> None:
    arm = Arm(path="direct", upstream="main", model="text-embedding-3-small")
    (cost,) = costs(
        decided(arm), read({"model": "auto", "input": "Hello"}, "/v1/embeddings"), table=table_from(PriceOverlay())
    )
    assert cost.nano_usd is not None
    assert cost.nano_usd < 10_000


def stepped(**above: str) -> PriceTable:
    """1 and 2 USD a million tokens; for a prompt over 100 tokens these."""
    entry = {"models": ["gpt-4.1-mini"], "input": "1.00", "output": "2.00", "source": "the tests", "read_on": DAY}
    price = Price.model_validate(entry | {"long_context": [{"over": 100, **above}]})
    return table_from(PriceOverlay(prices=(price,)))


def test_a_price_that_rises_with_the_length_rises_here_too() -> None:
    table = stepped(input="10.00", output="20.00")
    short = chat(messages=[{"role": "user", "content": "x" * 100}])
    long = chat(messages=[{"role": "user", "content": "x" * 1_000}])
    (cheap,), (dear,) = costs(decided(), short, table=table), costs(decided(), long, table=table)
    assert cheap.nano_usd == cheap.input_tokens * 1_000 + FIRST_OUTPUT * 2_000
    assert dear.nano_usd == dear.input_tokens * 10_000 + FIRST_OUTPUT * 20_000


def test_a_price_that_is_known_in_part_gives_no_cost() -> None:
    long = chat(messages=[{"role": "user", "content": "x" * 1_000}])
    assert costs(decided(), long, table=stepped(input="10.00"))[0].nano_usd is None


def test_no_number_of_choices_breaks_the_books() -> None:
    (cost,) = costs(decided(), chat(n=10**17))
    assert cost.nano_usd is not None
    assert 0 < cost.nano_usd <= MOST_NANO_USD
    assert cost.output_tokens < 2**63
