"""all, any and not: what they mean, and that nothing is looked up that cannot matter."""

from itertools import permutations, product

import msgspec
import pytest

from gateway.core.decision import Decision
from gateway.core.errors import BadConfiguration
from gateway.core.facts import Facts, Needs, NeedsKnowledge, NeedsTasks, TaskSignal
from gateway.policy.condition import Cost
from gateway.policy.decide import decide
from gateway.policy.explain import explain_entry
from gateway.policy.written_call import CallEntry
from tests.fakes.calls import NOON, SUPPORT, chat, facts
from tests.fakes.rulebook import rule, rulebook, verdict

KNOWS = "knowledge: {collections: [help-centre], score_over: 0.5}"
TASK = "task: {line: tone, score_over: 0.5}"
TOOLS = [{"type": "function", "function": {"name": "f"}}]
NEEDS_KNOWLEDGE = NeedsKnowledge(("help-centre",))


def known(knowledge: float | None = None, task: float | None = None) -> Facts:
    found = facts() if knowledge is None else facts(help_centre=knowledge)
    return found if task is None else msgspec.structs.replace(found, tasks=(TaskSignal("tone", task),))


@pytest.mark.parametrize(("tools", "model"), list(product([False, True], ["auto", "small"])))
def test_each_combination_means_what_it_says(tools: bool, model: str) -> None:  # noqa: FBT001  # a case
    call = chat(model=model, tools=TOOLS if tools else [])
    is_auto = model == "auto"
    for when, expected in {
        "all: [{has_tools: true}, {model: auto}]": tools and is_auto,
        "any: [{has_tools: true}, {model: auto}]": tools or is_auto,
        "not: {has_tools: true, model: auto}": not (tools and is_auto),
        "not: {any: [{has_tools: true}, {model: auto}]}": not (tools or is_auto),
        "any: [{all: [{has_tools: true}, {model: auto}]}, {not: {any: [{has_tools: true}, {model: auto}]}}]": (
            tools == is_auto
        ),
        "not: {not: {not: {has_tools: true}}}": not tools,
        "any: [{has_tools: true, model: auto}]": tools and is_auto,
    }.items():
        assert verdict(when, call) is expected, when


@pytest.mark.parametrize(
    ("when", "answer"),
    [
        # A group that needs nothing settles it.
        ("any: [{KNOWS}, {team: support}]", True),
        ("any: [{KNOWS}, {team: sales}]", NEEDS_KNOWLEDGE),
        ("all: [{KNOWS}, {team: sales}]", False),
        ("all: [{KNOWS}, {team: support}]", NEEDS_KNOWLEDGE),
        ("not: {KNOWS, team: sales}", True),
        ("not: {KNOWS, team: support}", NEEDS_KNOWLEDGE),
        ("not: {any: [{KNOWS}, {team: support}]}", False),
        # Examples are asked before collections, wherever they stand.
        ("any: [{KNOWS}, {TASK}]", NeedsTasks()),
        ("all: [{KNOWS}, {TASK}]", NeedsTasks()),
        ("any: [{TASK, team: sales}, {KNOWS}]", NEEDS_KNOWLEDGE),
    ],
)
def test_nothing_is_looked_up_that_cannot_matter(when: str, answer: bool | Needs) -> None:  # noqa: FBT001  # a case
    assert verdict(when.replace("KNOWS", KNOWS).replace("TASK", TASK), chat()) == answer


def test_one_look_up_may_spare_another() -> None:
    either, both = f"any: [{{{KNOWS}}}, {{{TASK}}}]", f"all: [{{{KNOWS}}}, {{{TASK}}}]"
    assert verdict(either, chat(), known(task=0.9)) is True
    assert verdict(either, chat(), known(task=0.1)) == NEEDS_KNOWLEDGE
    assert verdict(both, chat(), known(task=0.1)) is False
    assert verdict(both, chat(), known(task=0.9)) == NEEDS_KNOWLEDGE
    assert verdict(both, chat(), known(0.9, 0.9)) is True
    assert verdict(f"not: {{{TASK}, {KNOWS}}}", chat(), known(task=0.1)) is True


def test_an_answer_never_changes_once_it_was_given_without_a_look_up() -> None:
    """Three-valued: what holds, or does not, while something is open does so whatever is then found."""
    kinds = (KNOWS, TASK, "team: support", "model: other")
    shapes = ("any: [{ONE}, {OTHER}]", "all: [{ONE}, {OTHER}]", "not: {any: [{ONE}, {OTHER}]}", "not: {ONE, OTHER}")
    for shape, (one, other) in product(shapes, permutations(kinds, 2)):
        when = shape.replace("ONE", one).replace("OTHER", other)
        first = verdict(when, chat(), known())
        for knowledge, task in product([0.1, 0.9], repeat=2):
            told = verdict(when, chat(), known(knowledge, task))
            assert isinstance(told, bool), when
            assert first == told or not isinstance(first, bool), when


def test_a_group_costs_what_its_dearest_condition_costs() -> None:
    plain, dear = rule("any: [{team: a}, {not: {model: b}}], has_image: true").policy.rules[0].parts
    assert (plain.key, plain.cost, dear.key) == ("any", Cost.NAME, "has_image")
    (part,) = rule(f"not: {{team: a, {KNOWS}}}").policy.rules[0].parts
    assert part.cost == Cost.KNOWLEDGE
    assert [inner.key for group in part.groups for inner in group] == ["team", "knowledge"]


def test_groups_of_names_are_settled_with_the_names() -> None:
    """Such a rule costs nothing for callers whose names it does not mean."""
    policy = rule("not: {team: support}").policy
    assert policy.rules[0].open_checks == ()
    assert [number for number, _ in policy.shortlist(policy.seen(chat(), SUPPORT, facts()))] == [1]


@pytest.mark.parametrize("when", ["all: []", "any: []", "not: {}", "any: [{}]", "all: [{team: a}, {}]", "not: "])
def test_an_empty_group_is_a_fault(when: str) -> None:
    with pytest.raises(BadConfiguration, match=r"routing\.yaml:1:\d+: "):
        rule(when)


def test_faults_within_groups_have_their_own_places() -> None:
    with pytest.raises(BadConfiguration) as caught:
        rule("any: [{team: a}, {not: {all: [{knowledge: {collections: [nowhere]}}, {task: {line: nobody}}]}}]")
    assert [fault.partition(": ")[0] for fault in caught.value.faults] == [
        "policies/routing.yaml:1:87",
        "policies/routing.yaml:1:107",
    ]
    with pytest.raises(BadConfiguration, match=r"routing\.yaml:1:\d+: 'tame' is not a key here"):
        rule("not: {all: [{tame: a}]}")


def test_patterns_metadata_and_headers_in_groups_are_gathered_like_others() -> None:
    policy = rule("any: [{metadata: {task: x}}, {not: {header: {X-Desk: '1'}}}], text_matches: a").policy
    assert policy.metadata_keys == {"task"}
    assert policy.header_names == {b"x-desk"}
    assert verdict("any: [{text_matches: nothing}, {text_matches: '^Hello'}]", chat()) is True


def test_a_trace_says_what_each_condition_of_a_failing_group_saw() -> None:
    policy = rule("team: support, any: [{has_tools: true, model: auto}, {turns_over: 3}]").policy
    told = explain_entry(policy, CallEntry(team="support", model="small", text="Hi"), NOON)
    assert told.steps[0] == {
        "rule": "asked",
        "held": False,
        "failed": "any",
        "saw": [{"has_tools": False, "model": "small"}, {"turns_over": 1}],
    }


def test_the_draw_goes_by_the_shares_of_the_targets() -> None:
    policy = rulebook(
        "rules: [{name: r, use: {path: direct, targets: "
        "[{model: a, weight: 1}, {model: b, weight: 2}, {model: c, weight: 1}]}}]"
    ).policy

    def drawn(share: float) -> str:
        found = decide(policy, chat(), SUPPORT, facts(draw=share), "dec_1")
        assert isinstance(found, Decision)
        return found.arm.model

    assert [drawn(share) for share in (0.0, 0.2499, 0.25, 0.7499, 0.75, 0.9999)] == ["a", "a", "b", "b", "c", "c"]


@pytest.mark.parametrize("weight", [".nan", ".inf", "0", "-1", "1e9"])
def test_a_weight_that_is_no_share_is_a_fault(weight: str) -> None:
    with pytest.raises(BadConfiguration, match=r"routing\.yaml:1:\d+: weight is "):
        rulebook(f"rules: [{{name: r, use: {{path: direct, targets: [{{model: a, weight: {weight}}}]}}}}]")


@pytest.mark.parametrize(
    ("use", "fault"),
    [
        ("path: direct, on_no_match: abstain", "on_no_match belongs to path rag"),
        ("path: direct, judge: {model: small}", "judge belongs to path rag"),
        ("path: rag, collections: [help-centre], on_no_match: fallback", "no way stands behind it"),
        ("path: rag, collections: [help-centre], grounding: {action: fallback}", "no way stands behind it"),
        ("path: rag, collections: [help-centre], on_store_down: fallback_model", "belong together"),
        ("path: rag, collections: [help-centre], fallback_model: small", "belong together"),
        ("path: rag, collections: [help-centre], no_match_reply: fixed", "here it is neither"),
        ("path: rag, collections: [help-centre], no_match_text: Sorry.", "here we never do"),
        ("path: rag, collections: [help-centre], grounding: {least: 2}", "less than or equal to 1"),
        ("path: rag, collections: [help-centre], judge: {model: auto}", "leave the choice to this file"),
        (
            "path: rag, collections: [help-centre], on_store_down: fallback_model, fallback_model: auto",
            "leave the choice to this file",
        ),
    ],
)
def test_what_a_rule_says_of_answers_from_documents_must_make_sense(use: str, fault: str) -> None:
    with pytest.raises(BadConfiguration) as bad:
        rulebook(f"rules: [{{name: r, use: {{{use}}}}}]")
    assert any(fault in line and line.startswith("policies/routing.yaml:1:") for line in bad.value.faults)
