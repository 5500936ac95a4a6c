"""/admin/webhooks: messages for webhooks, whether they arrived, and again."""

from typing import Annotated

import msgspec
from litestar import get, post
from litestar.datastructures import State
from litestar.params import FromPath, FromQuery, JSONBody

from gateway.core.errors import BadConfiguration, InvalidRequest
from gateway.ledger.webhooks.delivery import Messenger, Tested
from gateway.ledger.webhooks.store import Delivery

MOST = 1_000


class TestUrl(msgspec.Struct, forbid_unknown_fields=True):
    """Where a test message is to go."""

    url: Annotated[str, msgspec.Meta(max_length=2_000)]


@get("/webhooks")
async def list_deliveries(
    state: State,
    limit: FromQuery[int] = 100,
    undelivered: FromQuery[bool] = False,  # noqa: FBT002  # a query parameter is always named
) -> list[Delivery]:
    """The newest messages first; all, or those that nobody has taken."""
    if not 1 <= limit <= MOST:
        raise InvalidRequest(f"limit is {limit}; it must be between 1 and {MOST}.", param="limit")
    return await _messenger(state).store.newest(limit, undelivered=undelivered)


@post("/webhooks/{delivery_id:str}/retry", status_code=200)
async def retry_delivery(state: State, delivery_id: FromPath[str]) -> Delivery:
    """Has a message tried now, with all its tries before it."""
    return await _messenger(state).store.retry(delivery_id)


@post("/webhooks/test", status_code=200)
async def send_test(state: State, data: JSONBody[TestUrl]) -> Tested:
    """Sends one signed test message and says what came of it."""
    try:
        return await _messenger(state).test(data.url)
    except BadConfiguration as bad:
        raise InvalidRequest(bad.faults[0]) from None


def _messenger(state: State) -> Messenger:
    messenger: Messenger = state.beside.messenger
    return messenger
