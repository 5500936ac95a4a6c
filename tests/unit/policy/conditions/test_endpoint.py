import pytest

from gateway.core.errors import BadConfiguration
from tests.fakes.calls import chat, read
from tests.fakes.rulebook import held, rule


def test_holds_for_the_endpoints_that_are_named() -> None:
    assert held("endpoint: [chat, responses]", chat())
    assert held("endpoint: embeddings", read({"model": "m", "input": "x"}, "/v1/embeddings"))
    assert not held("endpoint: [responses]", chat())


def test_a_word_that_is_no_endpoint_is_a_fault() -> None:
    with pytest.raises(BadConfiguration, match=r"policies/routing\.yaml:1:\d+: "):
        rule("endpoint: [images]")
