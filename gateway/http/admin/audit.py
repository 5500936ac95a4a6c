"""The audit log."""

from typing import Annotated

import msgspec
from litestar import get
from litestar.datastructures import State
from litestar.params import FromQuery

from gateway.db.store import AuditEvent
from gateway.http.admin.needs import admin

Limit = Annotated[int, msgspec.Meta(ge=1, le=10_000)]


@get("/audit")
async def audit(state: State, subject: FromQuery[str | None] = None, limit: FromQuery[Limit] = 100) -> list[AuditEvent]:
    """Who changed what, the newest first. subject: such as `team:support` or `key:key_...`."""
    return await admin(state).identity.audit(subject, limit)
