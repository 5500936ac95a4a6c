"""Who changed what: numbers that every process can compare."""

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import ChangeRow


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
