"""Calls of the gateway's own work: the same policy, budget and books as a caller's, under a purpose nobody can hide."""

import json
from pathlib import Path

import msgspec

from gateway.core.call import Principal
from tests.fakes.answering_gateway import answering_gateway

BODY = json.dumps({"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "Hello"}]}).encode()
PRINCIPAL = Principal("support", "key_1", "tests", metadata=(("purpose", "something else"), ("unit", "north")))


async def test_a_call_is_booked_to_its_team_under_its_purpose(tmp_path: Path) -> None:
    async with answering_gateway(tmp_path, "{path: direct}") as served:
        served.replies[:] = ["An answer"]
        told = await served.gateway.also.own_calls.ask(PRINCIPAL, "/v1/chat/completions", BODY, purpose="evaluation")
        assert told.status == 200
        assert json.loads(told.body)["choices"][0]["message"]["content"] == "An answer"
        (row,) = await served.rows("SELECT team, key_id, endpoint, metadata, input_tokens, outcome FROM usage_events")
        assert (row["team"], row["key_id"], row["endpoint"]) == ("support", "key_1", "chat")
        assert (row["input_tokens"], row["outcome"]) == (1000, "ok")
        assert json.loads(row["metadata"]) == {"purpose": "evaluation", "unit": "north"}


async def test_what_a_caller_would_be_refused_is_refused_in_the_same_words(tmp_path: Path) -> None:
    async with answering_gateway(tmp_path, "{path: direct}") as served:
        ask = served.gateway.also.own_calls.ask
        bound = msgspec.structs.replace(PRINCIPAL, allowed_models=("spare",))
        told = await ask(bound, "/v1/chat/completions", BODY, purpose="evaluation")
        assert (told.status, json.loads(told.body)["error"]["code"]) == (403, "not_permitted")
        told = await ask(PRINCIPAL, "/v1/chat/completions", b"{", purpose="evaluation")
        assert told.status == 400
        told = await ask(PRINCIPAL, "/v1/chat/completions", BODY, purpose="evaluation")
        assert told.status == 500
        assert len(served.asked) == 1
        outside = await ask(PRINCIPAL, "/admin/teams", BODY, purpose="evaluation")
        assert outside.status == 404
