"""Batches in the database: each one process's at a time, until it has ended."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Table, and_, delete, insert, or_, select, update

from gateway.batches.tables import BatchAnswerRow, BatchRow
from gateway.batches.values import Batch, Status
from gateway.core.page import Page, PageAsked
from gateway.db.engine import Database
from gateway.db.paging import page_of

_BATCHES: Table = BatchRow.__table__  # type: ignore[attr-defined]  # SQLModel adds it at run time
_ANSWERS: Table = BatchAnswerRow.__table__  # type: ignore[attr-defined]  # the same
# A table has its columns in an order of its own.
_BATCH = tuple(_BATCHES.c[name] for name in Batch.__struct_fields__)

GOES_ON = ("validating", "in_progress", "finalizing", "cancelling")
CAN_BE_CANCELLED = ("validating", "in_progress", "cancelling")


class BatchStore:
    """Keeps batches."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, batch: Batch) -> None:
        """Stores a batch."""
        values = {name: getattr(batch, name) for name in batch.__struct_fields__}
        async with self._database.session() as session:
            await session.execute(insert(_BATCHES), values | {"holder": "", "held_until": None})

    async def find(self, identity: str) -> Batch | None:
        """A batch of any team, or None."""
        async with self._database.session() as session:
            row = (await session.execute(select(*_BATCH).where(_BATCHES.c.id == identity))).first()
        return None if row is None else Batch(*row)

    async def run_at_provider(self, upstream_id: str) -> Batch | None:
        """The batch of any team that a provider runs under that id, or None."""
        query = select(*_BATCH).where(_BATCHES.c.upstream_id == upstream_id).limit(1)
        async with self._database.session() as session:
            row = (await session.execute(query)).first()
        return None if row is None else Batch(*row)

    async def page(self, team: str, asked: PageAsked) -> Page[Batch]:
        """A page of the team's batches. Raises InvalidRequest (400) for an unknown cursor."""
        mine = _BATCHES.c.team == team
        async with self._database.session() as session:
            rows, has_more = await page_of(session, select(*_BATCH).where(mine), _BATCHES, asked, within=mine)
        return Page(tuple(Batch(*row) for row in rows), has_more)

    async def cancel(self, identity: str, now: float) -> Batch | None:
        """Notes that a batch is not wanted any more; None when it has ended, or is about to."""
        wanted = and_(_BATCHES.c.id == identity, _BATCHES.c.status.in_(CAN_BE_CANCELLED))
        changed = update(_BATCHES).where(wanted, _BATCHES.c.status != "cancelling")
        async with self._database.session() as session:
            await session.execute(changed.values(status="cancelling", cancelling_at=now))
            row = (await session.execute(select(*_BATCH).where(wanted))).first()
        return None if row is None else Batch(*row)

    async def claim(self, holder: str, now: float, hold_seconds: float, limit: int) -> list[Batch]:
        """Batches to run, each to one holder, who has them alone for `hold_seconds`; the oldest first."""
        rows = _BATCHES.c
        is_free = or_(rows.held_until.is_(None), rows.held_until <= now)
        due = select(rows.id).where(rows.status.in_(GOES_ON), is_free).order_by(rows.created_at).limit(limit)
        async with self._database.session() as session:
            found = (await session.execute(due.with_for_update(skip_locked=True))).scalars().all()
            if not found:
                return []
            held = update(_BATCHES).where(rows.id.in_(found), is_free)
            held = held.values(holder=holder, held_until=now + hold_seconds)
            return [Batch(*row) for row in await session.execute(held.returning(*_BATCH))]

    async def hold(self, holder: str, identities: Collection[str], until: float) -> dict[str, Status]:
        """Keeps claimed batches for longer; the status of those that are still this holder's."""
        mine = and_(_BATCHES.c.id.in_(sorted(identities)), _BATCHES.c.holder == holder, _BATCHES.c.status.in_(GOES_ON))
        held = update(_BATCHES).where(mine).values(held_until=until).returning(_BATCHES.c.id, _BATCHES.c.status)
        async with self._database.session() as session:
            return {row[0]: row[1] for row in await session.execute(held)}

    async def let_go(self, holder: str, until: float | None = None, identity: str | None = None) -> None:
        """Lets others have this holder's batches, or one of them; at once, or from a moment on."""
        mine = _BATCHES.c.holder == holder
        if identity is not None:
            mine = and_(mine, _BATCHES.c.id == identity)
        async with self._database.session() as session:
            await session.execute(update(_BATCHES).where(mine).values(holder="", held_until=until))

    async def change(self, holder: str, identity: str, **values: Any) -> Batch | None:
        """Writes how far a batch has come; None when it is not this holder's any more, or has ended."""
        mine = and_(_BATCHES.c.id == identity, _BATCHES.c.holder == holder, _BATCHES.c.status.in_(GOES_ON))
        async with self._database.session() as session:
            changed = update(_BATCHES).where(mine).values(**values)
            row = (await session.execute(changed.returning(*_BATCH))).first()
        return None if row is None else Batch(*row)

    async def begin(self, holder: str, identity: str, now: float, **values: Any) -> Batch | None:
        """A batch that was looked through goes on; one that is to be cancelled stays that."""
        mine = and_(_BATCHES.c.id == identity, _BATCHES.c.holder == holder, _BATCHES.c.status.in_(GOES_ON))
        begun = and_(mine, _BATCHES.c.status == "validating")
        async with self._database.session() as session:
            await session.execute(update(_BATCHES).where(mine).values(in_progress_at=now, **values))
            await session.execute(update(_BATCHES).where(begun).values(status="in_progress"))
            row = (await session.execute(select(*_BATCH).where(mine))).first()
        return None if row is None else Batch(*row)

    async def end(self, holder: str, identity: str, **values: Any) -> bool:
        """Ends a batch, and forgets the answers that are in its files by now; False when it is not the holder's."""
        mine = and_(_BATCHES.c.id == identity, _BATCHES.c.holder == holder, _BATCHES.c.status.in_(GOES_ON))
        async with self._database.session() as session:
            ended = update(_BATCHES).where(mine).values(**values, holder="", held_until=None)
            if (await session.execute(ended.returning(_BATCHES.c.id))).first() is None:
                return False
            await session.execute(delete(_ANSWERS).where(_ANSWERS.c.batch_id == identity))
        return True
