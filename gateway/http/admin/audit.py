"""The audit log."""

from litestar import get
from litestar.datastructures import State
from litestar.params import FromQuery

from gateway.db.store import AuditEvent
from gateway.http.admin.needs import admin


@get("/audit")
async def audit(state: State, subject: FromQuery[str | None] = None, limit: FromQuery[int] = 100) -> list[AuditEvent]:
    """Who changed what, the newest first. subject: such as `team:support` or `key:key_...`."""
    return await admin(state).identity.audit(subject, limit)
