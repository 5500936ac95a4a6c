"""What rules see of a call: patterns in one pass, splits that stick, signals by the policy's weights."""

from collections import Counter

import msgspec
import pytest

from gateway.core.call import Call, Principal
from gateway.core.facts import Facts, KnowledgeSignal, TaskSignal
from gateway.policy.seen import MAX_TEXT, Patterns, Seen, sticky_value
from tests.fakes.calls import FEATURES, HELLO, NAMES, SUPPORT, chat, facts, read
from tests.fakes.rulebook import rulebook

POLICY = rulebook().policy
EVIDENCE = (("nearest_words", 1.0), ("has_system_prompt", 1.0))


def seen(call: Call, known: Facts | None = None) -> Seen:
    return POLICY.seen(call, SUPPORT, known or facts())


def said(*texts: str) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    return [{"role": roles[number % 2], "content": text} for number, text in enumerate(texts)]


def draw(call: Call, field: str | None, rule: str = "split", principal: Principal = SUPPORT) -> float:
    return seen(call, facts(draw=0.5)).draw(rule, field, principal)


def test_all_patterns_are_found_in_one_pass_by_their_numbers() -> None:
    patterns = Patterns(["refund", "(?i)^money", "x{3}", "é"])
    assert patterns.found("Money back: a refund") == (0, 1)
    assert patterns.found("café xxx") == (2, 3)
    assert patterns.found("") == ()
    assert Patterns([]).found("anything") == ()
    assert Patterns(["b"]).found("a" * MAX_TEXT + "b") == ()


def test_a_thousand_patterns_are_not_too_many() -> None:
    patterns = Patterns([rf"(?i)\bword{number}\b.*refund" for number in range(1000)])
    assert patterns.found("Word7 and word999: a refund, please") == (7, 999)


def test_what_no_rule_asked_for_is_not_recorded() -> None:
    looked = seen(chat())
    assert (looked.features.matched, looked.features.language) == (None, None)
    assert not looked.matches(0)
    assert looked.language != ""
    assert looked.features.matched == ()
    assert looked.features.language == looked.language


def test_a_recorded_call_is_seen_as_it_was() -> None:
    """Its words are gone: what rules found in them stands in the record."""
    features = msgspec.structs.replace(FEATURES, matched=(2,), language="de")
    again = POLICY.seen_again(NAMES, features, facts(), draw=0.25)
    assert again.matches(2)
    assert not again.matches(0)
    assert again.language == "de"
    assert again.draw("split", "user", None) == 0.25
    assert again.features == features


@pytest.mark.parametrize(
    ("field", "call", "value"),
    [
        ("team", chat(), "support"),
        ("key", chat(), "web"),
        ("user", chat(user="u1"), "u1"),
        ("user", chat(), ""),
        ("metadata.desk", chat(metadata={"desk": "3"}), "3"),
        ("metadata.desk", chat(), ""),
        ("header.X-Desk", read(HELLO, headers=((b"x-desk", b"4"),)), "4"),
        ("header.x-desk", chat(), ""),
        ("conversation", chat(), "user:Hello"),
        ("conversation", read({"model": "m", "input": "Hi", "conversation": "c1"}, "/v1/responses"), "c1"),
    ],
)
def test_a_split_sticks_to_the_field_that_it_names(field: str, call: Call, value: str) -> None:
    assert sticky_value(field, call, SUPPORT) == value


def test_equal_values_draw_equal_shares_and_others_draw_others() -> None:
    assert draw(chat(user="u1"), "user") == draw(chat(user="u1", model="other", messages=said("Bye")), "user")
    assert draw(chat(user="u1"), "user") != draw(chat(user="u2"), "user")
    assert draw(chat(user="u1"), "user") != draw(chat(user="u1"), "user", "another-rule"), "rules split apart"
    assert draw(chat(user="web"), "user") != draw(chat(), "key"), "a user is no key of the same name"


def test_a_call_without_the_field_draws_afresh() -> None:
    assert draw(chat(), "user") == 0.5
    assert draw(chat(user="u1"), None) == 0.5


def test_shares_drawn_by_users_are_spread_evenly() -> None:
    drawn = [draw(chat(user=f"user-{number}"), "user") for number in range(4000)]
    tenths = Counter(int(share * 10) for share in drawn)
    assert all(0 <= share < 1 for share in drawn)
    assert all(320 < tenths[tenth] < 480 for tenth in range(10)), tenths


def test_a_conversation_keeps_its_share_while_it_grows() -> None:
    first = chat(messages=[{"role": "system", "content": "Be kind."}, *said("Hello")])
    later = chat(messages=[{"role": "system", "content": "Be kind."}, *said("Hello", "Hi", "And refunds?", "5 days.")])
    other = chat(messages=[{"role": "system", "content": "Be kind."}, *said("Goodbye")])
    assert draw(first, "conversation") == draw(later, "conversation")
    assert draw(first, "conversation") != draw(other, "conversation")


def test_a_signal_given_by_hand_is_its_own_score() -> None:
    known = facts(help_centre=0.7)
    assert seen(chat(), known).knowledge(("help-centre",)) == 0.7
    assert seen(chat(), known).knowledge(("help-centre", "other")) is None, "that set was not looked up"


def test_evidence_is_scored_by_the_policys_weights_and_the_best_collection_counts() -> None:
    evidence = (("a", (("turn_confidence", 0.1),)), ("b", (("turn_confidence", 0.9),)))
    signal = KnowledgeSignal(0.0, evidence=evidence)
    known = msgspec.structs.replace(facts(), knowledge=((("a", "b"), signal),))
    looked = seen(chat(), known)
    best = POLICY.weights.knowledge_words.score(evidence[1][1])
    assert looked.knowledge(("a", "b")) == best
    assert [(score.of, score.kind) for score in looked.scores()] == [("a", "knowledge"), ("b", "knowledge")]
    assert looked.scores()[1].score == best


def test_a_task_is_scored_by_words_or_with_the_embedder_that_took_part() -> None:
    for embedder, model in (("", POLICY.weights.task_words), ("small", POLICY.weights.task_meaning)):
        signal = TaskSignal("tone", evidence=EVIDENCE, embedder=embedder)
        looked = seen(chat(), msgspec.structs.replace(facts(), tasks=(signal,)))
        assert looked.task("tone") == model.score(EVIDENCE)
        (told,) = looked.scores()
        assert (told.of, told.embedder) == ("tone", embedder)
        assert dict(told.contributions)["intercept"] == model.intercept


def test_nothing_looked_up_is_not_the_same_as_nothing_found() -> None:
    assert seen(chat()).task("tone") is None
    assert seen(chat(), msgspec.structs.replace(facts(), tasks=())).task("tone") == 0.0
    assert seen(chat()).scores() == ()
