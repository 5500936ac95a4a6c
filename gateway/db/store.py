"""Changes: numbers that every process can compare, and who changed what."""

import time
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.core.ids import new_id
from gateway.core.values import Value
from gateway.db.engine import Database
from gateway.db.tables import AuditRow, ChangeRow


async def bump(session: AsyncSession, subject: str) -> None:
    """Says, in the same transaction as the change itself, that `subject` has changed."""
    postgres = session.get_bind().dialect.name == "postgresql"
    # One statement: of two first changes at once, each is counted.
    first = (postgresql.insert if postgres else sqlite.insert)(ChangeRow).values(subject=subject, version=1)
    await session.execute(
        first.on_conflict_do_update(index_elements=["subject"], set_={"version": ChangeRow.version + 1})
    )


async def version_of(session: AsyncSession, subject: str) -> int:
    """The subject's number; 0 before its first change."""
    found = await session.execute(
        select(ChangeRow.version).where(ChangeRow.subject == subject)  # type: ignore[call-overload]  # SQLModel types columns as values
    )
    return int(found.scalar_one_or_none() or 0)


class AuditEvent(Value, frozen=True):
    """One change. at: Unix seconds. detail: what it was about; never a key or a secret."""

    id: str
    at: float
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]


def note_change(session: AsyncSession, actor: str, action: str, subject: str, **detail: object) -> None:
    """Adds the change to the session's transaction.

    action: a noun and what was done, `team.create`. subject: what it was done to, `team:support`.
    """
    text = msgspec.json.encode(detail).decode()
    session.add(AuditRow(id=new_id("aud"), at=time.time(), actor=actor, action=action, subject=subject, detail=text))


async def note_alone(database: Database, actor: str, action: str, subject: str, **detail: object) -> None:
    """Notes a change that was made elsewhere than in the database: a file, a message that was sent."""
    async with database.session() as session:
        note_change(session, actor, action, subject, **detail)


async def audit_events(session: AsyncSession, *, subject: str | None = None, limit: int = 100) -> list[AuditEvent]:
    """The newest changes first; of one subject (`team:support`) or of all."""
    query = select(AuditRow).order_by(AuditRow.at.desc(), AuditRow.id.desc()).limit(limit)  # type: ignore[attr-defined]  # columns at run time
    if subject is not None:
        query = query.where(AuditRow.subject == subject)  # type: ignore[arg-type]  # the same
    rows = (await session.scalars(query)).all()
    return [
        AuditEvent(row.id, row.at, row.actor, row.action, row.subject, msgspec.json.decode(row.detail)) for row in rows
    ]
