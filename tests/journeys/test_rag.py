"""Answers from the team's own documents, cited, fresh within a second, and closed to who may not read them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from gateway.knowledge.cite import find_markers
from tests.fakes.offline_server import OfflineServer
from tests.fakes.running_gateway import A_SECOND, RunningGateway, until

CANARY = "Zephyrine"


def ask(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


@pytest.fixture
def page(gateway: RunningGateway) -> Iterator[Path]:
    """A document's path that is free before and after."""
    path = gateway.policies / "help-centre" / "quokka.md"
    yield path
    path.unlink(missing_ok=True)


def test_a_chat_answer_cites_its_sources(gateway: RunningGateway) -> None:
    reply = gateway.client().chat.completions.create(model="kb/help-centre", messages=ask("How long do refunds take?"))
    message = reply.choices[0].message
    text = message.content or ""
    assert "5 business days" in text
    assert message.annotations
    citation = message.annotations[0].url_citation
    assert text[citation.start_index : citation.end_index].startswith("[")
    assert "refunds" in citation.url or "Refunds" in citation.title
    told: dict[str, Any] = (reply.model_extra or {})["gateway"]
    assert told["decision_id"].startswith("dec_")
    cited = [source for source in told["sources"] if source["cited"]]
    assert cited[0]["collection"] == "help-centre"
    assert {"n", "file_id", "filename", "url", "score", "version", "cited"} <= cited[0].keys()


def test_a_streamed_answer_accumulates_to_the_same_citations(gateway: RunningGateway) -> None:
    client = gateway.client()
    with client.chat.completions.stream(model="kb/help-centre", messages=ask("How long do refunds take?")) as stream:
        streamed = stream.get_final_completion().choices[0].message
    whole = client.chat.completions.create(model="kb/help-centre", messages=ask("How long do refunds take?"))
    message = whole.choices[0].message
    assert streamed.content == message.content
    assert message.annotations
    got = [
        annotation if isinstance(annotation, dict) else annotation.to_dict()
        for annotation in streamed.annotations or []
    ]
    assert [one["url_citation"] for one in got] == [one.url_citation.to_dict() for one in message.annotations]


def test_an_answer_in_json_has_no_markers_and_its_sources_are_cited(gateway: RunningGateway) -> None:
    asked: Any = {"model": "kb/help-centre", "messages": ask("How long do refunds take?")}
    asked["response_format"] = {"type": "json_object"}
    client = gateway.client()
    whole = client.chat.completions.create(**asked)
    words = ""
    told: dict[str, Any] = {}
    for chunk in client.chat.completions.create(**asked, stream=True):
        words += (chunk.choices[0].delta.content or "") if chunk.choices else ""
        told = (chunk.model_extra or {}).get("gateway", told)
    for text, said in ((whole.choices[0].message.content or "", (whole.model_extra or {})["gateway"]), (words, told)):
        (answer,) = json.loads(text).values()
        assert "5 business days" in answer
        assert not find_markers(answer, 9)
        assert any(source["cited"] for source in said["sources"])


def test_a_response_cites_its_files_whole_and_streamed(gateway: RunningGateway) -> None:
    client = gateway.client()
    whole = client.responses.create(model="kb/help-centre", input="How long do refunds take?")
    with client.responses.stream(model="kb/help-centre", input="How long do refunds take?") as stream:
        events = list(stream)
        final = stream.get_final_response()
    for reply in (whole, final):
        search, message = reply.output
        assert search.type == "file_search_call"
        assert (search.status, search.queries, search.results) == ("completed", ["How long do refunds take?"], None)
        assert message.type == "message"
        part = message.content[0]
        assert part.type == "output_text"
        assert "5 business days" in part.text
        assert [annotation.type for annotation in part.annotations] == ["file_citation"]
    assert any(event.type == "response.output_text.annotation.added" for event in events)
    steps = [event.type for event in events if event.type.startswith("response.file_search_call.")]
    assert steps == [f"response.file_search_call.{step}" for step in ("in_progress", "searching", "completed")]
    added = [event.item.type for event in events if event.type == "response.output_item.added"]
    assert added == ["file_search_call", "message"]
    numbers = [event.sequence_number for event in events if hasattr(event, "sequence_number")]
    assert len(numbers) == len(set(numbers))


def test_a_response_tells_what_was_found_when_that_is_asked_for(gateway: RunningGateway) -> None:
    asked: Any = {"model": "kb/help-centre", "input": "How long do refunds take?"}
    reply = gateway.client().responses.create(**asked, include=["file_search_call.results"])
    search = reply.output[0]
    assert search.type == "file_search_call"
    assert search.results
    assert "5 business days" in "".join(result.text or "" for result in search.results)
    assert all(0 <= (result.score or 0) <= 1 and result.file_id for result in search.results)


def test_the_sources_are_booked_as_part_of_the_prompt(gateway: RunningGateway) -> None:
    gateway.client("rag-bookers").chat.completions.create(
        model="kb/help-centre", messages=ask("How long do refunds take?")
    )
    [row] = gateway.rows_of("rag-bookers", 1)
    assert row["path"] == "rag"
    assert row["collections"] == "help-centre"
    assert row["context_tokens"] > 0
    assert row["input_tokens"] > 20


def answer_of(gateway: RunningGateway) -> str:
    reply = gateway.client().chat.completions.create(
        model="kb/help-centre", messages=ask("What does the quokka parcel cost?")
    )
    return reply.choices[0].message.content or ""


def test_a_saved_edit_is_in_the_next_answer_within_a_second(gateway: RunningGateway, page: Path) -> None:
    """A new file, an edit of it, and its removal."""
    assert "crowns" not in answer_of(gateway)
    page.write_text("# Quokka parcel\n\nThe quokka parcel costs 41 crowns.\n")
    until(lambda: "41 crowns" in answer_of(gateway), A_SECOND, what="the new file")
    page.write_text("# Quokka parcel\n\nThe quokka parcel costs 57 crowns.\n")
    until(lambda: "57 crowns" in answer_of(gateway), A_SECOND, what="the edit")
    page.unlink()
    until(lambda: "crowns" not in answer_of(gateway), A_SECOND, what="the removal")


def test_an_edit_by_rename_counts_too(gateway: RunningGateway, page: Path) -> None:
    """Most editors save by writing beside the file and renaming over it."""
    beside = page.with_suffix(".tmp")
    beside.write_text("# Quokka parcel\n\nThe quokka parcel costs 73 crowns.\n")
    beside.rename(page)
    until(lambda: "73 crowns" in answer_of(gateway), A_SECOND, what="the renamed file")


def test_it_abstains_without_asking_a_model_when_nothing_is_found(
    gateway: RunningGateway, upstream: OfflineServer
) -> None:
    client = gateway.client("abstainers")
    before = upstream.bill()["count"]
    reply = client.chat.completions.create(model="kb/help-centre", messages=ask("xylophone zwieback"))
    assert "do not have information" in (reply.choices[0].message.content or "")
    assert reply.usage is not None
    assert reply.usage.total_tokens == 0
    streamed = client.chat.completions.create(model="kb/help-centre", messages=ask("xylophone zwieback"), stream=True)
    assert "do not have" in "".join(chunk.choices[0].delta.content or "" for chunk in streamed)
    with client.responses.stream(model="kb/help-centre", input="xylophone zwieback") as stream:
        assert "do not have" in stream.get_final_response().output_text
    assert upstream.bill()["count"] == before
    rows = gateway.rows_of("abstainers", 3)
    assert {(row["outcome"], row["cost_nano_usd"], row["cost_status"]) for row in rows} == {("ok", 0, "free")}


def test_the_board_reads_its_minutes(gateway: RunningGateway) -> None:
    reply = gateway.client("board").chat.completions.create(
        model="kb/board-minutes", messages=ask("What did the board approve about the merger?")
    )
    assert CANARY in (reply.choices[0].message.content or "")


def test_a_team_without_access_never_gets_a_collections_text(gateway: RunningGateway, upstream: OfflineServer) -> None:
    """Not by a rule that names the collection, either: access is the team's, whatever the way."""
    client = gateway.client("outsiders")
    question = "What did the board approve about the merger with Holdings?"
    by_rule = client.chat.completions.with_raw_response.create(
        model="gpt-4.1-mini", messages=ask(question), metadata={"task": "board"}
    )
    assert CANARY not in by_rule.text
    by_rule_streamed = gateway.post(
        "/v1/chat/completions",
        {"model": "gpt-4.1-mini", "messages": ask(question), "metadata": {"task": "board"}, "stream": True},
        team="outsiders",
    )
    assert CANARY not in by_rule_streamed.text
    assert all(row["context_tokens"] == 0 for row in gateway.rows_of("outsiders", 2))


def test_a_collection_that_one_may_not_read_looks_like_none(gateway: RunningGateway) -> None:
    client = gateway.client("outsiders-too")

    def refusal(model: str) -> tuple[int, dict[str, Any]]:
        with pytest.raises(openai.NotFoundError) as refused:
            client.chat.completions.create(model=model, messages=ask("What did the board approve?"))
        body: Any = refused.value.body
        return refused.value.status_code, {**body, "message": body["message"].replace(model, "?")}

    assert refusal("kb/board-minutes") == refusal("kb/no-such-thing")
    assert "kb/board-minutes" not in {model.id for model in client.models.list()}
