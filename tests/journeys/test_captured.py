"""A team that opted in has its calls kept, redacted, and says what it thinks of them; of another team no word is."""

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest

from tests.fakes.offline_server import OfflineServer
from tests.fakes.running_gateway import RunningGateway, running_gateway, until

TEAMS = """\
teams:
  open: {capture: {days: 30}}
  raw: {capture: {days: 1, redact: false}}
  closed: {}
"""
SECRET = "Write to jane.roe@example.org about order 7"


@pytest.fixture(scope="module")
def keeping(tmp_path_factory: pytest.TempPathFactory, upstream: OfflineServer) -> Iterator[RunningGateway]:
    with running_gateway(tmp_path_factory.mktemp("kept"), upstream.base_url, files={"teams.yaml": TEAMS}) as running:
        yield running


def kept(gateway: RunningGateway, team: str) -> list[dict[str, Any]]:
    with contextlib.closing(sqlite3.connect(gateway.data / "gateway.db", timeout=10)) as database:
        database.row_factory = sqlite3.Row
        rows = database.execute("SELECT * FROM captured_calls WHERE team = ? ORDER BY at", (team,))
        return [dict(row) for row in rows]


def of_decision(gateway: RunningGateway, team: str, decision: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        return next((row for row in kept(gateway, team) if row["decision_id"] == decision), None)

    return until(look, what="the captured call")


def ask(client: openai.OpenAI, text: str, **more: Any) -> tuple[str, str]:
    """(decision, answer) of a call."""
    reply = client.chat.completions.with_raw_response.create(
        model="gpt-4.1-mini", messages=[{"role": "user", "content": text}], **more
    )
    return reply.headers["x-gateway-decision"], str(reply.parse().choices[0].message.content)


def test_a_call_is_kept_with_its_whole_answer_and_without_personal_data(keeping: RunningGateway) -> None:
    decision, answer = ask(keeping.client("open"), SECRET)
    row = of_decision(keeping, "open", decision)
    assert json.loads(row["messages"]) == [
        {"role": "user", "content": SECRET.replace("jane.roe@example.org", "<EMAIL_1>")}
    ]
    assert "jane.roe" not in row["answer"]
    assert (row["status"], row["finish_reason"], row["endpoint"], row["path"]) == (200, "stop", "chat", "direct")
    assert row["model"] == "gpt-4.1-mini"
    assert row["expires_at"] - row["at"] == 30 * 86_400
    raw, answer = ask(keeping.client("raw"), SECRET)
    row = of_decision(keeping, "raw", raw)
    assert json.loads(row["messages"])[0]["content"] == SECRET
    assert json.loads(row["answer"])["content"] == answer


def test_a_stream_and_a_response_are_kept_as_the_same_call(keeping: RunningGateway) -> None:
    client = keeping.client("raw")
    with client.chat.completions.with_streaming_response.create(
        model="gpt-4.1-mini", messages=[{"role": "user", "content": "Tell me"}], stream=True
    ) as streamed:
        decision = streamed.headers["x-gateway-decision"]
        for _ in streamed.iter_bytes():
            pass
    stream = of_decision(keeping, "raw", decision)
    _, answer = ask(client, "Tell me")
    assert json.loads(stream["answer"])["content"] == answer
    assert stream["finish_reason"] == "stop"
    reply = client.responses.with_raw_response.create(model="gpt-4.1-mini", input="Tell me")
    row = of_decision(keeping, "raw", reply.headers["x-gateway-decision"])
    assert row["response_id"] == reply.parse().id
    assert json.loads(row["answer"])["content"] == reply.parse().output_text


def test_of_a_team_that_never_opted_in_nothing_is_kept(keeping: RunningGateway) -> None:
    for team in ("closed", "unnamed"):
        ask(keeping.client(team), SECRET)
    decision, _ = ask(keeping.client("open"), "after")
    of_decision(keeping, "open", decision)
    assert kept(keeping, "closed") == kept(keeping, "unnamed") == []
    for table in ("decisions", "usage_events", "captured_calls"):
        with contextlib.closing(sqlite3.connect(keeping.data / "gateway.db", timeout=10)) as database:
            rows = database.execute(f"SELECT * FROM {table} WHERE team = 'closed'").fetchall()
        assert "jane.roe" not in repr(rows)


def test_a_team_opts_out_within_a_second(keeping: RunningGateway) -> None:
    client = keeping.client("leaving")
    policies = keeping.policies / "teams.yaml"
    policies.write_text(TEAMS + "  leaving: {capture: {}}\n")

    def begun() -> bool:
        ask(client, "one")
        time.sleep(0.2)
        return bool(kept(keeping, "leaving"))

    until(begun, 15, what="a kept call")
    policies.write_text(TEAMS)
    time.sleep(3.0)
    count = len(kept(keeping, "leaving"))
    decision, _ = ask(client, "two")
    time.sleep(2.0)
    assert len(kept(keeping, "leaving")) == count
    assert decision not in {row["decision_id"] for row in kept(keeping, "leaving")}


def say(gateway: RunningGateway, team: str, **body: Any) -> httpx2.Response:
    return gateway.post("/v1/feedback", body, team)


def test_feedback_is_the_teams_own_and_said_at_once(keeping: RunningGateway) -> None:
    """Also before the call's rows are in the database."""
    decision, _ = ask(keeping.client("open"), "Good or bad?")
    other, _ = ask(keeping.client("closed"), "Good or bad?")
    reply = say(keeping, "open", decision_id=decision, score="down", comment="no", corrected="Ask a@example.org")
    assert reply.status_code == 200, reply.text
    assert reply.json()["score"] == -1.0
    assert say(keeping, "closed", decision_id=other, score=0.5).status_code == 200
    call = reply.json()["call_id"]
    assert say(keeping, "closed", decision_id=decision, score="up").status_code == 404
    assert say(keeping, "closed", call_id=call, score="up").status_code == 404
    (row,) = [one for one in keeping.admin("GET", "/admin/feedback?team=open") if one["call_id"] == call]
    assert (row["score"], row["comment"], row["corrected"]) == (-1.0, "no", "Ask <EMAIL_1>")
    assert say(keeping, "open", call_id=call, score=1).status_code == 200
    (row,) = [one for one in keeping.admin("GET", "/admin/feedback") if one["call_id"] == call]
    assert (row["score"], row["corrected"]) == (1.0, "")
    assert keeping.counted("gateway_feedback_total", team="open", sentiment="negative") == 1
    assert keeping.counted("gateway_feedback_total", team="open", sentiment="positive") == 1


def test_feedback_by_the_replys_own_id(keeping: RunningGateway) -> None:
    reply = keeping.client("open").responses.create(model="gpt-4.1-mini", input="Hello")
    assert say(keeping, "open", response_id=reply.id, score="up").status_code == 200
    assert say(keeping, "closed", response_id=reply.id, score="up").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"score": "up"},
        {"call_id": "c", "decision_id": "d", "score": "up"},
        {"call_id": "c", "score": 2},
        {"call_id": "c", "score": "sideways"},
        {"call_id": "c"},
        {"call_id": "", "score": 1},
        {"call_id": "c", "score": 1, "mood": "good"},
    ],
)
def test_feedback_that_says_nothing_is_refused(keeping: RunningGateway, body: dict[str, Any]) -> None:
    assert say(keeping, "open", **body).status_code == 400


def test_feedback_on_a_call_that_never_was(keeping: RunningGateway) -> None:
    assert say(keeping, "open", call_id="call_0", score=1).status_code == 404
