from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.charges import Charges
from gateway.knowledge.ingest import EmbeddingUse
from tests.fakes.books import Books, books
from tests.fakes.calls import SUPPORT
from tests.fakes.rulebook import rulebook

KNOWLEDGE = """
embedders: {small: {upstream: main, model: gpt-4.1-mini}}
collections:
  help-centre: {teams: ["*"], model: small, embedder: small, owner: docs}
  board: {teams: ["*"], model: small, embedder: small}
"""


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Books]:
    with books(tmp_path) as opened:
        yield opened


def charges(made: Books) -> Charges:
    book = rulebook(knowledge=KNOWLEDGE, routing="rules: [{name: r, use: {path: direct}}]")
    found = Charges(made.ledger, lambda: book)
    found.organisations = {"docs": "acme"}
    return found


def use(collection: str, purpose: str = "ingest") -> EmbeddingUse:
    return EmbeddingUse(collection, "small:gpt-4.1-mini", purpose, 1, 7)  # type: ignore[arg-type]  # one of its words


def test_documents_are_embedded_on_the_account_of_their_collections_owner(made: Books) -> None:
    paying = made.budget(10**12, "docs")
    it = charges(made)
    it.ingested(use("help-centre"))
    it.ingested(use("board"))
    it.ingested(use("gone"))
    assert [(one.team, one.organisation, one.endpoint) for one in made.observed] == [
        ("docs", "acme", "ingest"),
        ("gateway", "", "ingest"),
        ("gateway", "", "ingest"),
    ]
    assert paying.spent == made.observed[0].cost_nano_usd == 7_000


def test_what_a_call_took_is_the_callers_each_purpose_apart(made: Books) -> None:
    it = charges(made)
    for purpose in ("query", "rerank"):
        it.embedded(SUPPORT, use("help-centre", purpose))
    assert [(one.team, one.endpoint) for one in made.observed] == [("support", "retrieval"), ("support", "rerank")]
