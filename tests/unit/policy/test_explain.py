from gateway.policy.example import example_call
from gateway.policy.explain import explain_entry, run_tests
from gateway.policy.written_call import CallEntry
from tests.fakes.calls import NOON
from tests.fakes.rulebook import rulebook

ROUTING = """
rules:
  - {name: known, when: {model: auto, knowledge: {collections: [help-centre], score_over: 0.5}},
     use: {path: rag, collections: [help-centre], model: small, fallback: [{path: direct, model: house}]}}
  - {name: guests, when: {team: guests}, refuse: No guests.}
  - {name: rest, use: {path: direct, model: small}}
tests:
  - {name: refunds, call: {team: support, text: "How long?", knowledge_score: 0.9}, expect: {path: rag, rule: known}}
  - {name: wrong, call: {team: support, text: "Hi", knowledge_score: 0.1}, expect: {rule: known, model: house}}
  - {name: guests, call: {team: guests, model: small}, expect: {path: refused}}
"""


def test_a_policys_own_tests_say_what_came_and_what_was_expected() -> None:
    assert run_tests(rulebook(ROUTING).policy, NOON) == [
        "test 'wrong': rule is 'rest', expected 'known'",
        "test 'wrong': model is 'small', expected 'house'",
    ]


def test_a_test_that_ends_in_an_error_fails_and_does_not_end_the_check() -> None:
    test = "{name: t, call: {team: a, model: auto}, expect: {rule: r}}"
    routing = f"rules: [{{name: r, use: {{path: direct}}}}]\ntests: [{test}]"
    (failure,) = run_tests(rulebook(routing).policy, NOON)
    assert failure.startswith("test 't': 'auto' leaves the model to the policy")


def test_an_explanation_says_what_each_failing_condition_saw() -> None:
    entry = CallEntry(team="support", text="Hi", knowledge_score=0.2)
    told = explain_entry(rulebook(ROUTING).policy, entry, NOON)
    assert (told.rule, told.path, told.model, told.upstream) == ("rest", "direct", "small", "main")
    assert told.steps == [
        {"rule": "known", "held": False, "failed": "knowledge", "saw": {"help-centre": 0.2}},
        {"rule": "guests", "held": False, "failed": "team", "saw": "support"},
        {"rule": "rest", "held": True, "failed": None},
    ]


def test_an_explanation_names_fallbacks_and_refusals() -> None:
    policy = rulebook(ROUTING).policy
    known = explain_entry(policy, CallEntry(team="support", text="How long?", knowledge_score=0.9), NOON)
    assert (known.path, known.collections, known.fallbacks) == ("rag", ["help-centre"], ["direct:big-7b"])
    refused = explain_entry(policy, CallEntry(team="guests", model="small"), NOON)
    assert (refused.path, refused.refusal, refused.model) == ("refused", "No guests.", None)


def test_a_written_call_is_like_one_that_came_in() -> None:
    entry = CallEntry(team="a", key="k", text="Hi", system="Be kind.", headers={"X-A": "1"}, metadata={"b": "2"})
    call, principal = example_call(entry)
    assert call.inbound.header(b"x-a") == b"1"
    assert [turn.role for turn in call.turns] == ["system", "user"]
    assert call.prompt_bytes == len("Be kind.Hi")
    assert (principal.team, principal.key_name) == ("a", "k")
    assert example_call(CallEntry(team="a", prompt_tokens=100))[0].prompt_tokens_estimate == 100


def test_an_explanation_says_what_becomes_of_an_answer_without_sources() -> None:
    more = (
        "match_over: 0.3, on_no_match: clarify, no_match_reply: instructed, on_store_down: fallback_model, "
        "fallback_model: house, grounding: {least: 0.5, action: retry}, judge: {model: house, share: 0.1}"
    )
    routing = f"rules: [{{name: r, use: {{path: rag, collections: [help-centre], model: small, {more}}}}}]"
    told = explain_entry(rulebook(routing).policy, CallEntry(team="support", text="Hi"), NOON)
    assert told.without_sources == [
        "match_over: 0.3",
        "on_no_match: clarify (instructed)",
        "on_store_down: fallback_model (direct:big-7b)",
        "grounding: least 0.5, numbers warn, retry",
        "judge: direct:big-7b for 10%",
    ]
    assert explain_entry(rulebook(ROUTING).policy, CallEntry(team="support", text="Hi"), NOON).without_sources == []
