"""/admin/webhooks: messages for webhooks, whether they arrived, and again."""

from typing import Annotated, Any

import msgspec
from litestar import Request, get, post
from litestar.datastructures import State
from litestar.params import FromPath, FromQuery, JSONBody

from gateway.core.errors import BadConfiguration, InvalidRequest
from gateway.db.store import note_alone
from gateway.http.access import actor_of
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
async def retry_delivery(request: Request[Any, Any, Any], state: State, delivery_id: FromPath[str]) -> Delivery:
    """Has a message tried now, with all its tries before it."""
    again = await _messenger(state).store.retry(delivery_id)
    await note_alone(state.money.database, actor_of(request), "webhook.retry", f"webhook:{delivery_id}")
    return again


@post("/webhooks/test", status_code=200)
async def send_test(request: Request[Any, Any, Any], state: State, data: JSONBody[TestUrl]) -> Tested:
    """Sends one signed test message and says what came of it."""
    try:
        tested = await _messenger(state).test(data.url)
    except BadConfiguration as bad:
        raise InvalidRequest(bad.faults[0]) from None
    await note_alone(state.money.database, actor_of(request), "webhook.test", f"webhook:{tested.id}")
    return tested


def _messenger(state: State) -> Messenger:
    messenger: Messenger = state.beside.messenger
    return messenger
