"""A line's life while it is called: a canary that fails is taken back, a model that is gone is followed by another."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from tests.fakes.offline_server import OfflineServer, offline_server
from tests.fakes.running_gateway import POLICIES, UPSTREAM_KEY, RunningGateway, running_gateway, until

TUNED = "ft:gpt-4o-mini-2024-07-18:acme:{}:{}"
# Within this many calls a challenger that answers one in three with an error is taken back.
MOST_CALLS = 400
# Calls are judged each second: with all of them in the first one nothing could be taken back.
PAUSE = 0.1
SOON = datetime.now(UTC).date() + timedelta(days=40)


def version(line: str, mark: str, **more: Any) -> dict[str, Any]:
    return {"id": TUNED.format(line, mark), "upstream": "main", "base": "gpt-4o-mini-2024-07-18"} | more


LINES: dict[str, Any] = {
    "failing": {"versions": [version("failing", "v1"), version("failing", "v2")], "challenger": 2, "canary": 0.5},
    "even": {"versions": [version("even", "v1"), version("even", "v2")], "challenger": 2, "canary": 0.5},
    "gone": {
        "versions": [{"id": "missing-tuned", "upstream": "main", "base": "open-7b"}],
        "successor": {"path": "rag", "collections": ["help-centre"], "model": "gpt-4.1-mini"},
    },
    "refused": {
        "versions": [{"id": "missing-too", "upstream": "main", "base": "open-7b"}],
        "successor": {"path": "direct", "model": "gpt-4o-mini"},
    },
    "ending": {"versions": [version("ending", "v1", shutdown_date=SOON)]},
}
LISTED = f"""
models:
  gpt-4.1-nano: {{day: {SOON}, deprecated: 2026-01-05, source: a test, read_on: 2026-11-24}}
"""


def models_file() -> str:
    written = yaml.safe_load((POLICIES / "models.yaml").read_text())
    written["lines"] |= LINES
    return yaml.safe_dump(written)


@pytest.fixture(scope="module")
def upstream() -> Iterator[OfflineServer]:
    with offline_server(key=UPSTREAM_KEY) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: OfflineServer) -> Iterator[RunningGateway]:
    """Two workers: what they see of a canary is counted together."""
    files = {
        "models.yaml": models_file(),
        "shutdowns.yaml": LISTED,
        "tuning.yaml": "webhooks: [{url: 'http://127.0.0.1:9/hook'}]\n",
    }
    folder = tmp_path_factory.mktemp("lines")
    with running_gateway(folder, upstream.base_url, files=files, workers=2) as running:
        yield running


def ask(gateway: RunningGateway, model: str, text: str = "Hi", **more: Any) -> httpx2.Response:
    body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
    return gateway.post("/v1/chat/completions", body)


def canary_of(gateway: RunningGateway, line: str) -> float:
    share: float = gateway.admin("GET", f"/admin/lines/{line}")["line"]["canary"]
    return share


def test_a_challenger_that_fails_is_taken_back_and_every_caller_is_answered(
    gateway: RunningGateway, upstream: OfflineServer
) -> None:
    upstream.lay(model=LINES["failing"]["versions"][1]["id"], status=500)
    answered: Counter[str] = Counter()
    calls = 0
    while canary_of(gateway, "failing"):
        assert calls < MOST_CALLS
        time.sleep(PAUSE)
        for _ in range(10):
            reply = ask(gateway, "failing")
            assert reply.status_code == 200, reply.text
            answered[reply.headers["x-gateway-line"]] += 1
            calls += 1
    assert set(answered) == {"failing@v1"}
    (change, *_) = gateway.admin("GET", "/admin/lines/failing/events")
    assert (change["actor"], change["action"]) == ("canary", "line.canary")
    assert "errors" in json.loads(change["detail"])["reason"]
    audited = [one for one in gateway.admin("GET", "/admin/audit") if one["subject"] == "line:failing"]
    assert ("canary", "line.canary") in {(one["actor"], one["action"]) for one in audited}
    assert "canary_rolled_back" in gateway.log()
    until(lambda: gateway.counted("gateway_line_rollbacks_total", line="failing") == 1, what="the metric")
    until(lambda: gateway.counted("gateway_model_line_weight", line="failing", version="1") == 1, what="the weight")
    told = [json.loads(one["body"]) for one in gateway.admin("GET", "/admin/webhooks")]
    assert [one["data"]["line"] for one in told if one["type"] == "line.canary_rolled_back"] == ["failing"]
    until(lambda: tries(gateway, 2) == tries(gateway, 2, 20) or None, what="both workers to have the change")


def tries(gateway: RunningGateway, number: int, calls: int = 0) -> int:
    """How often a version of `failing` was tried up to now, with so many more calls."""
    for _ in range(calls):
        ask(gateway, "failing")
    rows = gateway.rows("line = 'failing'")
    return sum(row["model"].endswith(f"v{number}") for row in rows)


class Prose(BaseHTTPRequestHandler):
    """An upstream of which one model answers in JSON and the other does not, whatever it is asked."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        content = "Certainly! Here it is." if asked["model"].endswith("v2") else '{"intent": "refund"}'
        if asked.get("stream"):
            self.stream(content)
            return
        choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
        body = json.dumps(
            {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
        ).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self, content: str) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        frame = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        for word in (content[:5], content[5:]):
            choice = {"index": 0, "delta": {"content": word}, "finish_reason": None}
            self.wfile.write(b"data: " + json.dumps(frame | {"choices": [choice]}).encode() + b"\n\n")
        usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
        self.wfile.write(b"data: " + json.dumps(frame | {"choices": [], "usage": usage}).encode() + b"\n\n")
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.mark.parametrize(
    "asked",
    [{"response_format": {"type": "json_object"}}, {}, {"response_format": {"type": "json_object"}, "stream": True}],
)
def test_a_challenger_whose_answers_have_another_form_is_taken_back(
    tmp_path: Path, upstream: OfflineServer, asked: dict[str, Any]
) -> None:
    """Where JSON was asked for, and where the champion's answers are JSON though nobody asks."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Prose) as prose:
        threading.Thread(target=prose.serve_forever, daemon=True).start()
        written = yaml.safe_load(models_file())
        written["upstreams"]["prose"] = {"base_url": f"http://127.0.0.1:{prose.server_port}/v1"}
        versions = [version("formless", "v1", upstream="prose"), version("formless", "v2", upstream="prose")]
        written["lines"]["formless"] = {"versions": versions, "challenger": 2, "canary": 0.3}
        files = {"models.yaml": yaml.safe_dump(written)}
        with running_gateway(tmp_path / "formless", upstream.base_url, files=files) as gateway:
            calls = 0
            while canary_of(gateway, "formless"):
                assert calls < MOST_CALLS
                time.sleep(PAUSE)
                for _ in range(10):
                    assert ask(gateway, "formless", **asked).status_code == 200
                    calls += 1
            (change, *_) = gateway.admin("GET", "/admin/lines/formless/events")
            assert "malformed" in json.loads(change["detail"])["reason"]
        prose.shutdown()


def test_a_challenger_as_good_as_its_champion_stays_and_has_its_share(gateway: RunningGateway) -> None:
    answered = Counter(ask(gateway, "even").headers["x-gateway-line"] for _ in range(200))
    # So far off by chance once in ten million times.
    assert answered.keys() == {"even@v1", "even@v2"}
    assert 60 < answered["even@v2"] < 140
    assert canary_of(gateway, "even") == 0.5
    for asked in ("even@v1", "even@v2", LINES["even"]["versions"][0]["id"]):
        assert len({ask(gateway, asked).headers["x-gateway-line"] for _ in range(12)}) == 1


def test_a_decision_says_what_it_drew_and_is_explained_months_later(gateway: RunningGateway) -> None:
    for _ in range(2):
        reply = ask(gateway, "even", user="somebody")
        told = gateway.decision(reply.headers["x-gateway-decision"])
        trial = told["record"]["trial"]
        assert (trial["line"], trial["champion"], trial["challenger"], trial["share"]) == ("even", 1, 2, 0.5)
        number = 2 if trial["drawn"] < 0.5 else 1
        assert reply.headers["x-gateway-line"] == f"even@v{number}"
        assert told["explained"]["version"] == number
        assert told["explained"]["canary"].endswith(f"so v{number} answers")
        assert "somebody" not in json.dumps(told)


def test_a_line_that_ended_counts_as_a_succession_too(gateway: RunningGateway) -> None:
    reply = ask(gateway, "old-tone", "How long do refunds take?")
    assert reply.headers["x-gateway-successor-of"] == "old-tone"
    until(lambda: gateway.counted("gateway_line_successions_total", line="old-tone") >= 1, what="the metric")


def test_a_user_stays_with_one_version(gateway: RunningGateway) -> None:
    first = [ask(gateway, "even", user=f"u-{n}").headers["x-gateway-line"] for n in range(30)]
    assert set(first) == {"even@v1", "even@v2"}
    assert [ask(gateway, "even", "Else", user=f"u-{n}").headers["x-gateway-line"] for n in range(30)] == first


@pytest.mark.parametrize("more", [{}, {"stream": True}])
def test_a_model_that_its_provider_has_no_more_is_followed_by_the_lines_successor(
    gateway: RunningGateway, more: dict[str, Any]
) -> None:
    for _ in range(6):
        reply = ask(gateway, "gone", "How long do refunds take?", **more)
        assert reply.status_code == 200, reply.text
        assert reply.headers["x-gateway-successor-of"] == "gone"
        assert reply.headers["x-gateway-path"] == "rag"
        assert reply.headers["x-gateway-collections"] == "help-centre"
    until(lambda: gateway.counted("gateway_line_successions_total", line="gone") >= 6, what="the metric")
    asked = until(lambda: gateway.rows("model = ?", "missing-tuned"), what="the rows")
    # Each worker asks it once, and remembers.
    assert 1 <= len(asked) <= 2
    assert "model_gone" in gateway.log()


def test_completions_are_answered_by_the_successor_too(gateway: RunningGateway) -> None:
    reply = gateway.post("/v1/completions", {"model": "refused", "prompt": "Hi"})
    assert reply.status_code == 200, reply.text
    assert (reply.headers["x-gateway-model"], reply.headers["x-gateway-successor-of"]) == ("gpt-4o-mini", "refused")


def test_a_reply_says_that_its_model_will_be_shut_down(gateway: RunningGateway) -> None:
    soon = parsedate_to_datetime(ask(gateway, "ending").headers["sunset"])
    assert soon.date() == SOON
    listed = ask(gateway, "gpt-4.1-nano").headers
    assert parsedate_to_datetime(listed["sunset"]).date() == SOON
    assert listed["deprecation"] == f"@{int(datetime(2026, 1, 5, tzinfo=UTC).timestamp())}"
    plain = ask(gateway, "gpt-4.1-mini").headers
    assert "sunset" not in plain
    assert "deprecation" not in plain


def test_the_list_of_models_says_when_they_end(gateway: RunningGateway) -> None:
    headers = {"authorization": f"Bearer {gateway.key()}"}
    listed = {one["id"]: one for one in gateway.http.get("/v1/models", headers=headers).json()["data"]}
    assert listed["ending"]["shutdown_date"] == SOON.isoformat()
    assert listed["even"].get("shutdown_date") is None
    one = gateway.http.get(f"/v1/models/{LINES['ending']['versions'][0]['id']}", headers=headers).json()
    assert one["shutdown_date"] == SOON.isoformat()
    assert gateway.counted("gateway_model_shutdown_timestamp_seconds", line="ending") > 0


def test_stale_tells_what_ends_on_the_command_line_and_over_http(gateway: RunningGateway) -> None:
    ask(gateway, "ending")
    until(lambda: gateway.rows("line = 'ending'"), what="the row")
    told = gateway.cli("tuning", "stale", "--within", "40d", "--json", "--fail")
    assert told.returncode == 1, told.stderr
    (ending,) = (one for one in json.loads(told.stdout) if one["line"] == "ending")
    assert (ending["day"], ending["source"], ending["is_within"]) == (SOON.isoformat(), "policy", True)
    assert ending["teams"][0]["team"] == "support"
    assert gateway.cli("tuning", "stale", "--within", "40d").returncode == 0, "only --fail says no"
    plain = gateway.cli("tuning", "stale")
    assert LINES["ending"]["versions"][0]["id"] in plain.stdout
    over_http = {one["line"]: one for one in gateway.admin("GET", "/admin/lines/stale?within_days=40")}
    assert over_http["ending"]["teams"] == ending["teams"]
    bad = gateway.cli("tuning", "stale", "--within", "soon")
    assert (bad.returncode, bad.stderr.strip()) == (1, "within is 'soon'; it must be days, such as 90d.")


def test_canaries_are_shown_with_what_speaks_against_them(gateway: RunningGateway) -> None:
    ask(gateway, "even")
    until(lambda: [one for one in trials(gateway) if one["standing"]["key"]["line"] == "even"], what="the canary")
    told = gateway.cli("tuning", "trials")
    assert "even@v2" in told.stdout, told.stderr
    assert {one["measure"] for one in trials(gateway)[0]["evidence"]} >= {"errors", "malformed"}


def trials(gateway: RunningGateway) -> list[Any]:
    found: list[Any] = gateway.admin("GET", "/admin/lines/trials")
    return found


class Lister(Prose):
    """An upstream whose list of models says when they end."""

    def do_GET(self) -> None:
        models = [
            {
                "id": TUNED.format("told", "v1"),
                "object": "model",
                "created": 1,
                "owned_by": "us",
                "shutdown_date": str(SOON),
            },
            {"id": "theirs", "object": "model", "created": 1, "owned_by": "them", "shutdown_date": "2031-02-03"},
            {"id": "vague", "object": "model", "created": 1, "owned_by": "them", "shutdown_date": "some day"},
        ]
        body = json.dumps({"object": "list", "data": models}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_what_an_upstreams_list_says_of_ends_is_taken_over(tmp_path: Path) -> None:
    """It is asked when somebody lists models, and then its word is known to every worker, and after a restart."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Lister) as lister:
        threading.Thread(target=lister.serve_forever, daemon=True).start()
        written = yaml.safe_load((POLICIES / "models.yaml").read_text())
        written["lines"]["told"] = {"versions": [version("told", "v1")]}
        url = f"http://127.0.0.1:{lister.server_port}/v1"
        files = {"models.yaml": yaml.safe_dump(written)}
        with running_gateway(tmp_path / "told", url, files=files, workers=2) as gateway:
            headers = {"authorization": f"Bearer {gateway.key()}"}

            def listed() -> dict[str, Any]:
                data = gateway.http.get("/v1/models", headers=headers).json()["data"]
                return {one["id"]: one.get("shutdown_date") for one in data}

            until(lambda: listed()["told"] == SOON.isoformat(), what="the upstream's word")
            assert listed()["theirs"] == "2031-02-03"
            assert parsedate_to_datetime(ask(gateway, "told").headers["sunset"]).date() == SOON
            gateway.terminate()
            gateway.start()
            assert listed()["told"] == SOON.isoformat()
        lister.shutdown()
