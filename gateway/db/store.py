"""Who changed what: numbers that every process can compare."""

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import ChangeRow


async def bump(session: AsyncSession, subject: str) -> None:
    """Says, in the same transaction as the change itself, that `subject` has changed."""
    moved = await session.execute(
        update(ChangeRow)
        .where(ChangeRow.subject == subject)  # type: ignore[arg-type]  # SQLModel types columns as values
        .values(version=ChangeRow.version + 1)
        .returning(ChangeRow.version)  # type: ignore[call-overload]  # the same
    )
    if moved.first() is None:
        session.add(ChangeRow(subject=subject, version=1))


async def version_of(session: AsyncSession, subject: str) -> int:
    """The subject's number; 0 before its first change."""
    found = await session.execute(
        select(ChangeRow.version).where(ChangeRow.subject == subject)  # type: ignore[call-overload]  # as above
    )
    return int(found.scalar_one_or_none() or 0)
