from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gateway.ledger.retrieval import book_retrieval
from tests.fakes.books import Books, books
from tests.fakes.calls import SUPPORT, chat


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Books]:
    with books(tmp_path) as opened:
        yield opened


def test_an_embedded_question_is_an_amount_of_its_call(made: Books) -> None:
    call = chat()
    call = msgspec.structs.replace(call, inbound=msgspec.structs.replace(call.inbound, call_id="call_7"))
    book_retrieval(made.ledger, SUPPORT, "main", "gpt-4.1-mini", 7, "help-centre", call=call)
    (event,) = made.observed
    assert event.call_id == "call_7"
    assert event.id.startswith("call_7.")
    assert not event.last


def test_an_embedded_question_is_a_row_of_its_own(made: Books) -> None:
    made.budget(10**12)
    book_retrieval(made.ledger, SUPPORT, "main", "gpt-4.1-mini", 7, "help-centre")
    book_retrieval(made.ledger, SUPPORT, "main", "gpt-4.1-mini", None, "help-centre")
    known, unknown = made.observed
    assert (known.endpoint, known.cost_nano_usd, known.cost_by_kind[0]) == ("retrieval", 7_000, ("retrieval", 7_000))
    assert not known.last
    assert (unknown.usage, unknown.cost_nano_usd, unknown.cost_status) == (None, None, "unpriced")
    assert made.money()[1] == 7_000


def test_a_question_embedded_on_this_machine_is_free_and_not_unpriced(made: Books) -> None:
    made.budget(10**12)
    book_retrieval(made.ledger, SUPPORT, "", "local:0123456789ab", 7, "help-centre", is_free=True)
    (event,) = made.observed
    assert (event.upstream, event.model, event.cost_nano_usd, event.cost_status) == (
        "",
        "local:0123456789ab",
        0,
        "free",
    )
    assert event.usage is not None
    assert event.usage.input_tokens == 7
    assert made.money()[1] == 0
