"""What a call of the gateway's own work was answered."""

from collections.abc import Awaitable, Callable

from gateway.core.values import Value


class Answered(Value, frozen=True):
    """A whole reply. body: JSON; of a status from 400 on OpenAI's error object. request_id: "" when there is none."""

    status: int
    body: bytes
    request_id: str = ""


# Asks one of the `/v1` endpoints (path, JSON body) as somebody who is settled already.
Ask = Callable[[str, bytes], Awaitable[Answered]]
