"""The documented formula, by the base's own vocabulary."""

import pytest

from gateway.tuning.datasets.rows import read_row
from gateway.tuning.token_counts import (
    PER_EXAMPLE,
    PER_IMAGE,
    PER_MESSAGE,
    ExampleTokens,
    TokenCounter,
    example_tokens,
    vocabulary_of,
)
from gateway.wire.tokens import count_tokens
from tests.fakes.training_rows import PNG, Json, call, calling, chat, pair, said, shown, talk


def counted(row: Json) -> ExampleTokens:
    return example_tokens(read_row(1, "", row), "o200k_base")


def words(*texts: str) -> int:
    return sum(map(count_tokens, texts))


@pytest.mark.parametrize(
    ("base", "encoding", "is_estimate"),
    [
        ("gpt-4o-mini-2024-07-18", "o200k_base", False),
        ("ft:gpt-4.1-mini-2025-04-14:acme:tone:x", "o200k_base", False),
        ("gpt-3.5-turbo-0125", "cl100k_base", False),
        ("davinci-002", "cl100k_base", False),
        ("gpt-4-0613", "cl100k_base", False),
        ("azure/gpt-4o", "o200k_base", False),
        ("meta-llama/Llama-3.1-8B", "o200k_base", True),
        ("", "o200k_base", True),
    ],
)
def test_a_base_has_its_vocabulary_and_unknown_ones_an_estimate(base: str, encoding: str, is_estimate: bool) -> None:  # noqa: FBT001  # a column
    found = vocabulary_of(base)
    assert (found.encoding, found.is_estimate) == (encoding, is_estimate)


def test_the_two_vocabularies_count_differently() -> None:
    text = "Ein Überweisungsauftrag für die Krankenversicherung"
    assert count_tokens(text, "cl100k_base") != count_tokens(text, "o200k_base")
    assert count_tokens("hello world", "cl100k_base") == 2


def test_a_row_is_three_a_message_its_values_and_three() -> None:
    row = talk(said("system", "Be kind."), *chat("How are you?", "Well, thanks.")["messages"])
    found = counted(row)
    answer = PER_MESSAGE + words("assistant", "Well, thanks.")
    assert found.total == PER_EXAMPLE + 2 * PER_MESSAGE + words("system", "Be kind.", "user", "How are you?") + answer
    assert (found.answer, found.trained) == (answer, answer)


def test_a_name_costs_one_more_and_a_weight_nothing() -> None:
    plain, named = (
        talk(said("user", "a"), said("assistant", "b")),
        talk(said("user", "a", name="jo"), said("assistant", "b")),
    )
    assert counted(named).total - counted(plain).total == 1 + words("jo")
    assert counted(talk(said("user", "a"), said("assistant", "b", weight=1))) == counted(plain)


def test_only_answers_that_weigh_are_trained() -> None:
    first, last = said("assistant", "No."), said("assistant", "Yes, of course.")
    both = talk(said("user", "a"), first, said("user", "b"), last)
    one = talk(said("user", "a"), first | {"weight": 0}, said("user", "b"), last)
    assert counted(both).trained - counted(one).trained == PER_MESSAGE + words("assistant", "No.")
    assert counted(both).total == counted(one).total


def test_calls_tools_and_images_count() -> None:
    row = calling(call())
    bare = talk(*(message for message in row["messages"] if "tool_calls" not in message))
    assert counted(row).total > counted(bare).total + words("look_up", '{"id": 1}')
    assert counted(shown(PNG)).prompt - counted(chat("What is this?", "A dot.")).prompt == PER_IMAGE


def test_a_preference_row_counts_both_outputs_and_is_as_long_as_the_longer() -> None:
    found = counted(pair("Yes.", "No, certainly not, never."))
    assert found.total == found.prompt + found.answer + found.rejected
    assert found.longest == found.prompt + found.rejected


def test_half_a_surrogate_pair_is_counted_and_not_raised() -> None:
    assert counted(chat("a\ud83d")).total > 0


def test_a_counter_adds_up_what_it_counted() -> None:
    counter = TokenCounter("gpt-4o")
    row = read_row(1, "", chat())
    found = counter.of(row)
    assert counter.of(row) == found
    assert (counter.total, counter.trained) == (2 * found.total, 2 * found.trained)
