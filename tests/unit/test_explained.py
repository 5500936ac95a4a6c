from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.core.call import Call, Principal
from gateway.core.decision import Decision
from gateway.core.errors import GatewayError, KnowledgeUnavailable, ModelNotFound
from gateway.core.facts import Facts
from gateway.explained import decide_looking, explain_call, explain_record, replay
from gateway.knowledge.embedders.remembered import Remembered
from gateway.knowledge.library import Library
from gateway.knowledge.settings import CollectionSettings, SourceSettings
from gateway.knowledge.stores.sqlite import SqliteStore
from gateway.ledger.records import DecisionRecord, record_of
from gateway.paths.lookups import LookUps
from gateway.paths.rag import Sources
from gateway.policy.decide import Policy, decide_seen
from gateway.policy.explain import explain
from gateway.policy.written_call import CallEntry
from gateway.tuning.examples import Examples
from gateway.tuning.tasks import Tasks
from tests.fakes.calls import NOON, SUPPORT, chat, facts
from tests.fakes.embedder import FakeEmbedder
from tests.fakes.rulebook import rulebook

REFUNDS = "How long do refunds take to a credit card from your shop?"
COMPLAINT = "Please answer this complaint: the mug arrived broken."
TONE = Examples((COMPLAINT, "Reply to this customer: it is late."), ("",), 1, answers_json=False, has_tools=False)
RULES = """
rules:
  - {name: plain, when: {metadata: {task: plain}}, use: {path: direct, model: small}}
  - {name: tone, when: {task: {line: tone, score_over: 0.5}}, use: {path: fine_tuned, line: tone}}
  - name: held
    when: {knowledge: {collections: [help-centre, board-minutes], score_over: 0.4}}
    use: {path: rag, collections: [help-centre], model: small}
  - {name: rest, use: {path: direct, model: small}}
"""


class Local(FakeEmbedder):
    is_local = True


class Desk:
    """A policy over a real library and real examples. told: what was booked or counted."""

    def __init__(self, folder: Path, embedder: FakeEmbedder) -> None:
        self.told: list[object] = []
        self.policy = rulebook(RULES).policy
        for name, text in (
            ("help-centre", f"# Refunds\n\n{REFUNDS[:-1]}: they take ten days."),
            ("board-minutes", "# Minutes\n\nThe merger of Zephyrine is secret."),
        ):
            (folder / name).mkdir()
            (folder / name / "one.md").write_text(text)
        made = [
            CollectionSettings(name, "", (SourceSettings("folder", str(folder / name)),), teams, "fake")
            for name, teams in (("help-centre", ("*",)), ("board-minutes", ("board",)))
        ]
        remembered = Remembered(embedder)
        self.library = Library(SqliteStore(folder / "k.db"), made, {"fake": remembered})
        sources = Sources(
            self.library,
            1_000,
            lambda names, result, _seconds: self.told.append((names, result)),
            lambda principal, use, _call: self.told.append((principal.team, use.collection)),
        )
        self.lookups = LookUps(sources, Tasks({"tone": TONE}, remembered, folder / "kept"))

    async def decide(self, text: str, principal: Principal = SUPPORT, **fields: Any) -> tuple[Decision, Facts, Call]:
        call = chat(messages=[{"role": "user", "content": text}], **fields)
        known = msgspec.structs.replace(facts(0.3), tasks=None)
        decision, found = await decide_looking(self.policy, call, principal, known, "dec_1", self.lookups)
        return decision, found, call

    async def explain(self, **fields: Any) -> Any:
        entry = CallEntry.model_validate({"team": "support", **fields})
        return await explain_call(self.policy, entry, NOON, self.lookups)


@pytest.fixture
async def embedder() -> FakeEmbedder:
    return Local()


@pytest.fixture
async def desk(tmp_path: Path, embedder: FakeEmbedder) -> AsyncIterator[Desk]:
    made = Desk(tmp_path, embedder)
    await made.library.sync()
    await made.lookups.tasks.prepare(lambda _tokens: None)
    yield made
    await made.library.close()


def recorded(decision: Decision, known: Facts) -> DecisionRecord:
    made = record_of("call_1", SUPPORT, decision, known, ())
    return msgspec.json.decode(msgspec.json.encode(made), type=DecisionRecord)


async def test_a_call_that_a_plain_rule_settles_pays_for_no_look_up(desk: Desk) -> None:
    decision, known, _ = await desk.decide(REFUNDS, metadata={"task": "plain"})
    assert (decision.rule, decision.scores, known.tasks, known.knowledge) == ("plain", (), None, ())
    assert desk.told == []


async def test_signals_are_looked_up_one_after_the_other_as_rules_ask(desk: Desk) -> None:
    tuned, known, _ = await desk.decide(COMPLAINT)
    assert (tuned.rule, tuned.arm.path) == ("tone", "fine_tuned")
    assert known.tasks is not None
    assert known.knowledge == ()
    held, known, _ = await desk.decide(REFUNDS)
    assert (held.rule, held.arm.path) == ("held", "rag")
    assert [(score.kind, score.of) for score in held.scores] == [("task", "tone"), ("knowledge", "help-centre")]
    rest, _, _ = await desk.decide("What is the weather like in Lisbon today?")
    assert rest.rule == "rest"


async def test_a_record_is_explained_as_the_call_was(desk: Desk) -> None:
    for text in (COMPLAINT, REFUNDS, "Hello"):
        decision, known, call = await desk.decide(text)
        record = recorded(decision, known)
        again, _ = replay(desk.policy, record)
        assert again == decision
        live = desk.policy.seen(call, SUPPORT, known)
        assert explain_record(desk.policy, record) == explain(desk.policy, decision, live)
        told = msgspec.json.encode(record).decode()
        assert not [word for word in text.split() if len(word) > 4 and word in told]


async def test_contributions_add_up_to_the_score(desk: Desk) -> None:
    decision, known, _ = await desk.decide(REFUNDS)
    record = recorded(decision, known)
    assert dict(record.signals).keys() == dict(record.contributions).keys()
    for name, parts in record.contributions:
        logit = sum(value for _, value in parts)
        assert parts[0][0] == "intercept"
        assert dict(record.signals)[name] == pytest.approx(1 / (1 + 2.718281828459045 ** -max(-30, min(30, logit))))


async def test_another_policy_that_asks_for_more_says_so(desk: Desk) -> None:
    plain = rulebook("rules: [{name: rest, use: {path: direct, model: small}}]").policy
    call = chat()
    found = await decide_looking(plain, call, SUPPORT, msgspec.structs.replace(facts(), tasks=None), "d", desk.lookups)
    with pytest.raises(GatewayError, match="not looked up"):
        explain_record(desk.policy, recorded(*found))


async def test_a_written_call_is_decided_as_the_real_one_would_be(desk: Desk) -> None:
    for text in (COMPLAINT, REFUNDS, "Hello"):
        decision, known, call = await desk.decide(text, model="auto")
        told = await desk.explain(text=text, key="web", prompt_tokens=call.prompt_tokens_estimate)
        live = explain(desk.policy, decision, desk.policy.seen(call, SUPPORT, known))
        assert told.signals == live.signals
        assert told.steps == live.steps
        assert (told.rule, told.path, told.model) == (live.rule, live.path, live.model)


async def test_explaining_books_and_counts_nothing(desk: Desk) -> None:
    told = await desk.explain(text=REFUNDS)
    assert told.rule == "held"
    assert {signal.embedder for signal in told.signals} == {"fake:1", "fake"}
    assert desk.told == []
    await desk.decide(REFUNDS + " And abroad?")
    assert desk.told == [("support", "tasks"), (("help-centre", "board-minutes"), "hit")]


async def test_signals_given_by_hand_are_taken_as_they_are(desk: Desk) -> None:
    told = await desk.explain(text="Hello", knowledge_score=0.9)
    assert told.rule == "held"
    assert [(score.kind, score.embedder) for score in told.signals] == [("task", "fake:1"), ("knowledge", "")]
    assert (await desk.explain(text="Hello", task_score={"tone": 0.9})).rule == "tone"
    assert (await desk.explain(text="Hello", knowledge_score={"board-minutes": 0.9})).rule == "held"
    assert (await desk.explain(text=REFUNDS, knowledge_score=0.1, task_score={"other": 1.0})).rule == "rest"


async def test_half_a_character_is_explained_like_any_other(desk: Desk) -> None:
    told = await desk.explain(text="Half \ud83d", system="\ud83d", headers={"x-tenant": "\ud83d"})
    assert told.rule == "rest"


async def test_no_embedder_at_an_upstream_is_asked_to_explain(tmp_path: Path) -> None:
    far = FakeEmbedder()
    desk = Desk(tmp_path, far)
    await desk.library.sync()
    await desk.lookups.tasks.prepare(lambda _tokens: None)
    seen = len(far.seen)
    told = await desk.explain(text=REFUNDS)
    assert len(far.seen) == seen
    assert {signal.embedder for signal in told.signals} == {""}
    await desk.library.close()


async def test_a_library_that_is_away_is_an_error_and_no_guess(desk: Desk) -> None:
    await desk.library.close()
    with pytest.raises(KnowledgeUnavailable):
        await desk.decide(REFUNDS)
    with pytest.raises(KnowledgeUnavailable):
        await desk.explain(text=REFUNDS)
    assert (await desk.decide(COMPLAINT))[0].rule == "tone"


async def test_a_rule_that_names_nothing_for_this_call_is_a_404(desk: Desk) -> None:
    ended = rulebook("rules: [{name: rest, use: {path: fine_tuned, line: lonely}}]").policy
    with pytest.raises(ModelNotFound):
        await explain_call(ended, CallEntry(team="support"), NOON, desk.lookups)


MIXED = """
rules:
  - name: group
    when:
      any:
        - {team: [sales], language: [fr]}
        - {model: [auto], text_matches: refunds, characters_over: 5}
    use: {path: direct, model: small}
  - {name: rest, use: {path: direct, model: small}}
"""


def test_what_a_group_saw_is_told_of_a_record_as_of_the_call() -> None:
    """Conditions that nobody looked at, because one before them had settled the group, saw nothing either time."""
    policy: Policy = rulebook(MIXED).policy
    call = chat(messages=[{"role": "user", "content": REFUNDS}])
    live = policy.seen(call, SUPPORT, facts())
    decision = decide_seen(policy, live, "dec_1", SUPPORT)
    assert isinstance(decision, Decision)
    assert explain_record(policy, recorded(decision, facts())) == explain(policy, decision, live)


EXACT = msgspec.structs.replace(SUPPORT, is_exact=True)


@pytest.mark.parametrize(("model", "answers"), [("tone@v1", "ft:base:acme:tone:1"), ("gpt-4.1-mini", "gpt-4.1-mini")])
async def test_an_exact_call_is_answered_by_what_it_names_whatever_rules_say(
    desk: Desk, model: str, answers: str
) -> None:
    decision, known, call = await desk.decide(COMPLAINT, EXACT, model=model)
    assert ([arm.model for arm in decision.arms], decision.arm.successor, desk.told) == ([answers], None, [])
    record = recorded(decision, known)
    assert replay(desk.policy, record)[0] == decision
    told = explain_record(desk.policy, record)
    assert (told.rule, told.model, told.steps) == ("(as named)", answers, [])
    assert told == explain(desk.policy, decision, desk.policy.seen(call, EXACT, known))


@pytest.mark.parametrize("model", ["chained", "tone@v9", "auto", "lonely"])
async def test_an_exact_call_of_what_is_not_there_is_nobodys(desk: Desk, model: str) -> None:
    with pytest.raises(ModelNotFound):
        await desk.decide(COMPLAINT, EXACT, model=model)
