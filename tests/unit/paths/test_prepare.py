import json
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.core.call import Call, Principal
from gateway.core.clock import Clock
from gateway.core.decision import Arm
from gateway.core.errors import KnowledgeUnavailable
from gateway.core.facts import Evidence, Facts, Hit, KnowledgeSignal, NeedsKnowledge
from gateway.knowledge.filters import Filter
from gateway.knowledge.fusion import Fusion
from gateway.knowledge.ingest import EmbeddingUse
from gateway.paths.cited_chat import ChatEditor
from gateway.paths.cited_responses import ResponsesEditor
from gateway.paths.lookups import LookUps
from gateway.paths.prepare import Paths
from gateway.paths.rag import LEAST_SCORE, Sources, question
from gateway.paths.rag_answer import ABSTAINS
from gateway.policy.models_file import UpstreamEntry
from gateway.tuning.tasks import Tasks
from gateway.upstream.prepared import Prepared
from gateway.upstream.upstreams import Upstreams
from gateway.wire.answer import own_answer
from tests.fakes.calls import DIRECT, NOON, SUPPORT, chat, decided, facts, hit, read
from tests.fakes.injections import ATTEMPTS
from tests.fakes.scripted_transport import ScriptedTransport

RAG = Arm(path="rag", upstream="main", model="gpt-4.1-mini", collections=("help-centre",))
ABSTAINING = Arm(path="rag", upstream="main", model="gpt-4.1-mini", collections=("help-centre",), on_no_match="abstain")
TUNED = Arm(path="fine_tuned", upstream="main", model="ft:base:acme", line="tone", version=2)


class Shelf:
    """A library with these hits. asked: what it was searched for. hidden: collections that nobody may read."""

    def __init__(self, *hits: Hit, broken: bool = False, hidden: Sequence[str] = ()) -> None:
        self.hits = hits
        self.hidden = hidden
        self.broken = broken
        self.asked: list[tuple[str, tuple[str, ...], str]] = []

    def permitted(self, collections: Sequence[str], team: str) -> tuple[str, ...]:  # noqa: ARG002  # as `Search` has it
        return tuple(name for name in collections if name not in self.hidden)

    async def search(
        self,
        text: str,
        collections: Sequence[str],
        team: str,
        limit: int = 8,
        booked: Callable[[EmbeddingUse], None] | None = None,
        *,
        local_only: bool = False,  # noqa: ARG002  # as `Search` has it
        filter: Filter | None = None,  # noqa: A002, ARG002 - as `Search` has it
        fusion: Fusion | None = None,  # noqa: ARG002  # as `Search` has it
        threshold: float = 0.0,  # noqa: ARG002  # as `Search` has it
    ) -> KnowledgeSignal:
        assert limit > 0
        assert booked is not None, "a search that nobody books"
        self.asked.append((text, tuple(collections), team))
        if self.broken:
            raise KnowledgeUnavailable("The store is away.")
        return KnowledgeSignal(max((one.score for one in self.hits), default=0.0), self.hits, "v7")

    async def measure(
        self,
        turn: str,  # noqa: ARG002  # as `Search` has it
        talk: str,  # noqa: ARG002  # the same
        collections: Sequence[str],
        team: str,  # noqa: ARG002  # the same
        booked: Callable[[EmbeddingUse], None] | None = None,  # noqa: ARG002  # the same
        *,
        local_only: bool = False,  # noqa: ARG002  # the same
    ) -> tuple[str, tuple[tuple[str, Evidence], ...]]:
        return "", tuple((name, (("turn_confidence", 0.5),)) for name in collections)


class Kitchen:
    """The three paths over a shelf."""

    def __init__(self, shelf: Shelf, *, takes_options: bool = True) -> None:
        self.retrieved: list[str] = []
        upstreams = Upstreams({"http1": ScriptedTransport()}, {}, Clock())
        entry = UpstreamEntry.model_validate(
            {"base_url": "http://main.test", "supports": {"stream_options": takes_options}}
        )
        upstreams.replace(upstreams.build({"main": entry}))
        sources = Sources(
            shelf,
            1_000,
            lambda _names, result, _seconds: self.retrieved.append(result),
            lambda _principal, _use, _call: None,
        )
        self.paths = Paths(upstreams, LookUps(sources, Tasks({}, None, Path("nowhere"))))

    async def prepare(self, call: Call, arm: Arm, known: Facts | None = None) -> Prepared:
        return await self.paths.prepare(call, SUPPORT, decided(arm), arm, known or facts())


async def test_the_direct_path_sends_what_came() -> None:
    call = chat()
    prepared = await Kitchen(Shelf()).prepare(call, DIRECT)
    assert prepared == Prepared(arm=DIRECT, body=call.inbound.body)


async def test_the_fine_tuned_path_sends_the_tuned_id_and_says_which_version_answers() -> None:
    prepared = await Kitchen(Shelf()).prepare(chat(), TUNED)
    assert json.loads(prepared.body)["model"] == "ft:base:acme"
    assert prepared.headers == ((b"x-gateway-line", b"tone@v2"),)


@pytest.mark.parametrize("arm", [DIRECT, TUNED, RAG])
async def test_an_upstream_that_takes_no_options_is_given_none(arm: Arm) -> None:
    call = chat(stream=True)
    asked = await Kitchen(Shelf(hit("Ten days.")), takes_options=True).prepare(call, arm)
    plain = await Kitchen(Shelf(hit("Ten days.")), takes_options=False).prepare(call, arm)
    assert (asked.usage_injected, b"stream_options" in asked.body) == (True, True)
    assert (plain.usage_injected, b"stream_options" in plain.body) == (False, False)


async def test_sources_go_before_the_question_and_are_counted() -> None:
    turns = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "How long do refunds take?"}]
    prepared = await Kitchen(Shelf(hit("Refunds take ten days."))).prepare(chat(messages=turns), RAG)
    sent: list[dict[str, Any]] = json.loads(prepared.body)["messages"]
    assert [turn["role"] for turn in sent] == ["system", "user", "user"]
    assert sent[0] == turns[0]
    assert sent[2] == turns[1]
    assert "Refunds take ten days." in sent[1]["content"]
    assert prepared.context_tokens > 0
    assert prepared.headers == ((b"x-gateway-collections", b"help-centre"), (b"x-gateway-knowledge-version", b"v7"))


async def test_a_collection_that_the_team_may_not_read_is_not_named_to_it() -> None:
    arm = Arm(path="rag", upstream="main", model="gpt-4.1-mini", collections=("help-centre", "board-minutes"))
    prepared = await Kitchen(Shelf(hit("Ten days."), hidden=("board-minutes",))).prepare(chat(), arm)
    assert dict(prepared.headers)[b"x-gateway-collections"] == b"help-centre"


async def test_a_signal_that_is_known_is_not_looked_up_again() -> None:
    """The policy asked already; a second search could find something else than what was decided upon."""
    shelf = Shelf()
    known = Facts(NOON, date(2026, 11, 23), 0.0, None, ((("help-centre",), KnowledgeSignal(0.9, (hit("Ten days."),))),))
    prepared = await Kitchen(shelf).prepare(chat(), RAG, known)
    assert b"Ten days." in prepared.body
    assert shelf.asked == []


async def test_no_sources_and_an_arm_that_abstains_ask_no_upstream() -> None:
    prepared = await Kitchen(Shelf()).prepare(chat(), ABSTAINING)
    assert prepared.answer is not None
    kind, body = prepared.answer
    assert kind == b"application/json"
    assert json.loads(body)["choices"][0]["message"]["content"] == ABSTAINS
    assert json.loads(body)["gateway"]["sources"] == []


async def test_no_sources_and_an_arm_that_goes_on_send_the_question_alone() -> None:
    call = chat()
    prepared = await Kitchen(Shelf(hit("Noise.", score=LEAST_SCORE - 0.01))).prepare(call, RAG)
    assert (prepared.body, prepared.editor, prepared.context_tokens) == (call.inbound.body, None, 0)


async def test_a_store_that_is_away_is_an_error_and_no_answer_without_sources() -> None:
    kitchen = Kitchen(Shelf(broken=True))
    with pytest.raises(KnowledgeUnavailable):
        await kitchen.prepare(chat(), RAG)
    assert kitchen.retrieved == ["error"]


async def test_a_call_that_waits_for_a_tool_goes_on_without_sources() -> None:
    turns = [{"role": "user", "content": "Add."}, {"role": "tool", "tool_call_id": "1", "content": "3"}]
    shelf = Shelf(hit("Ten days."))
    call = chat(messages=turns)
    prepared = await Kitchen(shelf).prepare(call, RAG)
    assert (prepared.body, prepared.headers) == (call.inbound.body, ((b"x-gateway-knowledge", b"not-used"),))
    assert shelf.asked == []


SYSTEM = b'{"role": "system",\t"content": "Be\\u0020kind. \\ud83d\\ude00", "x": 1.0e2}'
HISTORY = b'{ "content":"Zuf\xc3\xa4llig","role":"assistant" , "y":[ ]}'
ASKED = b'{"role":"user","content":[{"type":"text","text":"How long?"}] }'


@pytest.mark.parametrize(("path", "field"), [("/v1/chat/completions", b"messages"), ("/v1/responses", b"input")])
async def test_system_prompt_and_history_keep_their_bytes(path: str, field: bytes) -> None:
    """So that a provider's prompt cache stays warm."""
    body = b'{"model":"gpt-4.1-mini", "temperature":1e0, "%b": [%b, %b,%b]}' % (field, SYSTEM, HISTORY, ASKED)
    prepared = await Kitchen(Shelf(hit("Ten days."))).prepare(read(body, path), RAG)
    before, question = prepared.body.split(b'{"role":"user","content":"Sources for')
    assert before == b'{"model":"gpt-4.1-mini","temperature":1e0,"%b":[%b,%b,' % (field, SYSTEM, HISTORY)
    assert question.endswith(b'"},' + ASKED + b"]}")


async def test_a_document_changes_nothing_but_its_own_place() -> None:
    """Whatever it holds: the rest of the request is what it would have been, to the byte."""
    call = chat(messages=[{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}], tools=None)

    async def around(text: str) -> tuple[bytes, bytes]:
        body = (await Kitchen(Shelf(hit(text))).prepare(call, RAG)).body
        sent = json.loads(body)["messages"]
        assert [turn["role"] for turn in sent] == ["system", "user", "user"]
        block = msgspec.json.encode(sent[1])
        before, after = body.split(block)
        return before, after

    plain = await around("Ten days.")
    for attempt in ATTEMPTS:
        assert await around(attempt) == plain


async def test_a_search_of_an_earlier_answer_goes_no_further() -> None:
    """The official way to go on with a conversation hands all of the output back as input."""
    shelf = Kitchen(Shelf(hit("Ten days.")))
    first = await shelf.prepare(read({"model": "m", "input": "How long?"}, "/v1/responses"), RAG)
    assert first.editor is not None
    answer = own_answer(read({"model": "m", "input": "x"}, "/v1/responses"), "Ten days [1].", {})[1]
    output = json.loads(first.editor.whole(answer))["output"]
    theirs = {"type": "file_search_call", "id": "fs_68", "queries": ["fs_gateway_ is how ours begin"]}
    items = [{"role": "user", "content": "How long?"}, *output, theirs, {"role": "user", "content": "Sure?"}]
    call = read({"model": "m", "input": items}, "/v1/responses")
    for arm in (RAG, DIRECT):
        sent = json.loads((await shelf.prepare(call, arm)).body)["input"]
        assert [item["id"] for item in sent if item.get("type") == "file_search_call"] == ["fs_68"]
        assert output[1] in sent


async def test_json_is_asked_for_without_markers_on_both_endpoints() -> None:
    shapes: list[tuple[str, dict[str, Any]]] = [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "response_format": {"type": shape}})
        for shape in ("json_object", "json_schema")
    ]
    shapes += [
        ("/v1/responses", {"input": "x", "text": {"format": {"type": shape}}})
        for shape in ("json_object", "json_schema")
    ]
    for path, fields in shapes:
        prepared = await Kitchen(Shelf(hit("Ten days."))).prepare(read({"model": "m", **fields}, path), RAG)
        assert b"Ten days." in prepared.body
        assert b"like [1]" not in prepared.body
        plain = await Kitchen(Shelf(hit("Ten days."))).prepare(
            read({"model": "m"} | {k: v for k, v in fields.items() if k in {"messages", "input"}}, path), RAG
        )
        assert b"like [1]" in plain.body


async def test_a_reply_is_edited_in_the_shape_of_its_endpoint_and_json_loses_its_markers() -> None:
    kitchen = Kitchen(Shelf(hit("Ten days.")))
    assert isinstance((await kitchen.prepare(chat(), RAG)).editor, ChatEditor)
    response = read({"model": "gpt-4.1-mini", "input": "How long?"}, "/v1/responses")
    assert isinstance((await kitchen.prepare(response, RAG)).editor, ResponsesEditor)
    structured = await kitchen.prepare(chat(response_format={"type": "json_object"}), RAG)
    assert b"Ten days." in structured.body
    assert structured.editor is not None
    reply = b'{"choices":[{"message":{"content":"{\\"days\\": [1], \\"of\\": \\"card [1][9]\\"}"}}]}'
    told = json.loads(structured.editor.whole(reply))
    assert told["choices"] == [{"message": {"content": '{"days": [1], "of": "card"}'}}]
    assert [one["cited"] for one in told["gateway"]["sources"]] == [True]
    assert [one["document"] for one in grounded(structured)] == ["refunds.md"]


def grounded(prepared: Prepared) -> list[dict[str, Any]]:
    assert prepared.grounds is not None
    found: list[dict[str, Any]] = msgspec.to_builtins(prepared.grounds().sources)
    return found


async def test_each_search_is_made_for_the_callers_team() -> None:
    shelf = Shelf(hit("Ten days."))
    other = Principal(team="sales", key_id="k", key_name="n")
    known = await Kitchen(shelf).paths.lookups.answered(NeedsKnowledge(("help-centre",)), chat(), other, facts())
    assert known.signal(("help-centre",)) is not None
    assert shelf.asked == [("Hello", ("help-centre",), "sales")]


def test_a_question_is_searched_with_up_to_two_turns_before_it() -> None:
    def asked(*texts: str) -> str:
        return question(chat(messages=[{"role": "user", "content": text} for text in texts]))

    assert asked("old", "How do refunds work?", "Abroad too", "And how long?") == (
        "How do refunds work?\nAbroad too\nAnd how long?"
    )
    assert asked("Refunds?", "And how long does it take when I am living abroad?").startswith("Refunds?\n")
    assert asked("Refunds?") == "Refunds?"
