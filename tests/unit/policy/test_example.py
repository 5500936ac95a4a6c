"""A written call is read by rules as one that came in, and its signals are those that it names."""

from datetime import UTC, datetime

from gateway.policy.example import example_call, example_facts, given_knowledge
from gateway.policy.explain import explain_entry, run_tests
from gateway.policy.written_call import CallEntry
from tests.fakes.calls import NOON
from tests.fakes.rulebook import rulebook

TWO = rulebook(
    "rules: [{name: a, when: {any: [{knowledge: {collections: [help-centre, mute]}}, "
    "{task: {line: tone}}, {knowledge: {collections: [mute]}}]}, refuse: held}, {name: rest, use: {path: direct}}]"
).policy


def rule_of(when: str, **written: object) -> str:
    """Which rule takes a written call: `asked` when this holds."""
    routing = (
        f"rules: [{{name: asked, when: {{{when}}}, refuse: x}}, {{name: other, use: {{path: direct, model: small}}}}]"
    )
    entry = CallEntry.model_validate({"team": "support", "text": "Hello", **written})
    return explain_entry(rulebook(routing).policy, entry, NOON).rule


def test_each_condition_can_be_met_by_a_written_call() -> None:
    cases: dict[str, dict[str, object]] = {
        "turns_over: 4": {"turns": 5},
        "has_image: true": {"has_image": True},
        "has_tools: true": {"has_tools": True},
        "response_format: json_schema": {"response_format": "json_schema"},
        "prompt_tokens_over: 8000": {"prompt_tokens": 8001},
        "budget_used_over: 0.9": {"budget_used": 0.95},
        "time: {from: '09:00', to: '10:00'}": {"at": "2026-11-23T09:30:00Z"},
        "asked_path: rag": {"path": "rag"},
        "shutdown_within: 30": {"model": "tone", "at": "2027-01-01T00:00:00Z"},
        "header: {x-desk: '3'}": {"headers": {"X-Desk": "3"}},
        "metadata: {task: tone}": {"metadata": {"task": "tone"}},
        "task: {line: tone}": {"task_score": {"tone": 0.9}},
        "knowledge: {collections: [help-centre]}": {"knowledge_score": 0.9},
        "language: de": {"text": "Wie lange dauert es, bis ich mein Geld zurückbekomme?"},
        "key: nightly": {"key": "nightly"},
    }
    for when, written in cases.items():
        assert rule_of(when, **written) == "asked", when
        assert rule_of(when) == "other", when


def test_turns_are_messages_beside_the_system_prompt_and_the_users_is_last() -> None:
    call, _ = example_call(CallEntry(team="a", text="Hi", system="Be kind.", turns=4))
    assert [turn.role for turn in call.turns] == ["system", "assistant", "user", "assistant", "user"]
    assert call.turns[-1].text == "Hi"


def test_one_score_is_that_of_every_collection_and_of_a_set_the_best_counts() -> None:
    one = dict(given_knowledge(CallEntry(team="a", knowledge_score=0.6), TWO))
    assert {names: signal.score for names, signal in one.items()} == {("help-centre", "mute"): 0.6, ("mute",): 0.6}
    each = dict(given_knowledge(CallEntry(team="a", knowledge_score={"help-centre": 0.7}), TWO))
    assert {names: signal.score for names, signal in each.items()} == {("help-centre", "mute"): 0.7, ("mute",): 0.0}


def test_what_a_written_call_does_not_name_scores_nothing() -> None:
    known = example_facts(CallEntry(team="a"), NOON, TWO)
    assert [signal.score for _, signal in known.knowledge] == [0.0, 0.0]
    assert known.tasks is not None
    assert [(signal.line, signal.score) for signal in known.tasks] == [("tone", 0.0)]
    assert (known.now, known.draw, known.budget_used) == (NOON, 0.0, None)


def test_a_written_moment_is_the_calls_day() -> None:
    entry = CallEntry.model_validate({"team": "a", "at": "2027-01-14T00:30:00+02:00"})
    known = example_facts(entry, NOON, TWO)
    assert known.today == datetime(2027, 1, 13, tzinfo=UTC).date()


def test_a_draw_and_a_user_choose_the_target_of_a_test() -> None:
    split = "use: {path: direct, targets: [{model: small}, {model: house}]%s}"
    tests = (
        "tests: [{name: low, call: {team: a, draw: 0.1}, expect: {model: small}}, "
        "{name: high, call: {team: a, draw: 0.9}, expect: {model: big-7b}}]"
    )
    assert run_tests(rulebook(f"rules: [{{name: r, {split % ''}}}]\n{tests}").policy, NOON) == []
    policy = rulebook(f"rules: [{{name: r, {split % ', sticky: user'}}}]").policy
    models = {
        (user, explain_entry(policy, CallEntry(team="a", user=user, draw=draw), NOON).model)
        for user in ("u1", "u2", "u3", "u4", "u5", "u6")
        for draw in (0.1, 0.9)
    }
    assert len(models) == 6, "whoever has a name keeps its target, whatever is drawn"
    assert len({model for _, model in models}) == 2
