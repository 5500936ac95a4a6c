"""Captured calls as they are kept."""

from gateway.core.values import Value


class CapturedCall(Value, frozen=True):
    """A call with its whole answer. at, expires_at: Unix seconds. messages, tools, response_format, answer: JSON.

    line, version: the tuned model that answered, None for another. response_id: of the reply, "" for none. status: of
    the reply, 499 when the caller left. conversation: as the caller named it, "" for nothing. is_redacted: personal
    data was replaced before it was stored.
    """

    id: str
    decision_id: str
    response_id: str
    at: float
    expires_at: float
    team: str
    key_id: str
    endpoint: str
    path: str
    rule: str
    line: str | None
    version: int | None
    model: str
    status: int
    finish_reason: str
    conversation: str
    messages: str
    tools: str
    response_format: str
    answer: str
    is_redacted: bool


class CallsAsked(Value, frozen=True):
    """Which captured calls are wanted. line: None is any call, of no line too. since, until: Unix seconds.

    only_positive: only of calls that were said to be good.
    """

    team: str
    line: str | None = None
    since: float = 0.0
    until: float | None = None
    only_positive: bool = False
