"""Captured calls and feedback as a test wants them."""

import json
from typing import Any

from gateway.tuning.captured.values import CapturedCall
from gateway.tuning.feedback.values import Feedback

NOON = 1_780_000_000.0
DAY = 86_400.0


def captured(number: int, question: str = "", answer: str = "", **more: Any) -> CapturedCall:
    """A call of the line `tone`. more: fields that differ."""
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": question or f"Where is {number}?"},
    ]
    told = {"role": "assistant", "content": answer or f"Number {number} is on its way."}
    usual: dict[str, Any] = {
        "id": f"call_{number}", "decision_id": f"dec_{number}", "response_id": f"chatcmpl-{number}",
        "at": NOON + number, "expires_at": NOON + 30 * DAY, "team": "support", "key_id": "k", "endpoint": "chat",
        "path": "fine_tuned", "rule": "in-our-tone", "line": "tone", "version": 1, "model": "ft:m", "status": 200,
        "finish_reason": "stop", "conversation": "", "messages": json.dumps(messages), "tools": "",
        "response_format": "", "answer": json.dumps(told), "is_redacted": True,
    }  # fmt: skip
    return CapturedCall(**(usual | more))


def said(number: int, score: float, corrected: str = "", **more: Any) -> Feedback:
    """Feedback on that call."""
    usual: dict[str, Any] = {
        "call_id": f"call_{number}", "decision_id": f"dec_{number}", "team": "support", "key_id": "k",
        "at": NOON + number + 1, "called_at": NOON + number, "score": score, "comment": "", "corrected": corrected,
        "line": "tone", "version": 1, "model": "ft:m",
    }  # fmt: skip
    return Feedback(**(usual | more))
