"""Calls, principals and facts as the readers would make them, for tests that begin after the reading."""

import json
from datetime import UTC, datetime
from typing import Any

from gateway.core.call import Call, Headers, Inbound, Principal
from gateway.core.decision import Arm, Decision, Features, Names
from gateway.core.event import UsageEvent
from gateway.core.facts import Facts, Hit, KnowledgeSignal
from gateway.core.usage import Usage
from gateway.wire.route import read_call

# 2026-11-23 12:00 UTC, a Monday in the middle of a month.
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()
SUPPORT = Principal(team="support", key_id="key_1", key_name="web")
DIRECT = Arm(path="direct", upstream="main", model="gpt-4.1-mini")
NAMES = Names("chat", "support", "web", "auto", False, None, (), ())
FEATURES = Features(5, 18, 1, has_image=False, response_format="text")
CHAT = "/v1/chat/completions"
HELLO: dict[str, Any] = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "Hello"}]}


def inbound(body: bytes, path: str = CHAT, headers: Headers = (), method: str = "POST") -> Inbound:
    """A request as the HTTP layer hands it on."""
    kind = ((b"content-type", b"application/json"),)
    return Inbound(method, path, path.encode(), b"", (*kind, *headers), body, "req_1", 0.0)


def read(body: object, path: str = CHAT, headers: Headers = ()) -> Call:
    """A call read from a body; bytes as they are, anything else as JSON."""
    written = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_call(inbound(written, path, headers))


def chat(**fields: Any) -> Call:
    """A chat call that says Hello, with these fields set."""
    return read(HELLO | fields)


def facts(draw: float = 0.0, **scores: float) -> Facts:
    """Facts at NOON; scores by collection name, with _ for -."""
    known = tuple(((name.replace("_", "-"),), KnowledgeSignal(score)) for name, score in scores.items())
    return Facts(now=NOON, today=datetime.fromtimestamp(NOON, UTC).date(), draw=draw, knowledge=known)


def decided(*arms: Arm, **fields: Any) -> Decision:
    """A decision for these arms."""
    given: dict[str, Any] = {"names": NAMES, "features": FEATURES, **fields}
    return Decision(id="dec_1", rule="a-rule", arms=arms or (DIRECT,), trace=((0, -1),), policy_hash="0" * 16, **given)


def hit(text: str, document: str = "refunds.md", score: float = 0.9) -> Hit:
    """A retrieved chunk."""
    return Hit("help-centre", document, "v1", document.removesuffix(".md").title(), text, score)


def closed(number: int = 1, **fields: Any) -> UsageEvent:
    """A closed attempt, priced and counted by the provider."""
    given: dict[str, Any] = {
        "id": f"call_{number}.1",
        "call_id": f"call_{number}",
        "attempt": 1,
        "last": True,
        "at": NOON,
        "team": "support",
        "key_id": "key_1",
        "endpoint": "chat",
        "asked_model": "auto",
        "path": "direct",
        "upstream": "main",
        "model": "gpt-4.1-mini",
        "line": None,
        "rule": "a-rule",
        "collections": (),
        "outcome": "ok",
        "status": 200,
        "error": "",
        "stream": False,
        "usage": Usage(10, 5),
        "cost_nano_usd": 12_000,
        "cost_by_kind": (("input", 4_000), ("cached", 0), ("output", 8_000), ("reasoning", 0)),
        "cost_status": "priced",
        "price_source": "the tests",
        "context_tokens": 0,
        "seconds": 0.5,
        "first_byte_seconds": None,
        "upstream_seconds": 0.4,
    }
    return UsageEvent(**(given | fields))
