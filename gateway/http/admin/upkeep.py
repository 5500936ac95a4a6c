"""/admin/retention: months made ahead and dropped when old, at once."""

from typing import Any

import msgspec
from litestar import Request, post
from litestar.datastructures import State
from litestar.params import JSONBody

from gateway.core.errors import BadConfiguration, InvalidRequest
from gateway.db.partitions import Upkeep
from gateway.http.access import actor_of


class Retention(msgspec.Struct, forbid_unknown_fields=True):
    """months: whole months to keep beside this one, null for GATEWAY_RETENTION_MONTHS. dry_run: only say it."""

    months: int | None = None
    dry_run: bool = False


@post("/retention", status_code=200)
async def retain(request: Request[Any, Any, Any], state: State, data: JSONBody[Retention]) -> Upkeep:
    """Drops what is too old, or with dry_run says what would be dropped."""
    try:
        done: Upkeep = await state.beside.retain(data.months, actor_of(request), dry_run=data.dry_run)
    except BadConfiguration as bad:
        raise InvalidRequest(bad.faults[0], param="months") from None
    return done
