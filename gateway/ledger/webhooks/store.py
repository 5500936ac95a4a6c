"""Messages for webhooks, from the transaction that makes the fact to the answer of who is told."""

import hashlib
import time
from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.core.errors import Conflict, NotFound
from gateway.core.values import Value
from gateway.db.engine import Database
from gateway.ledger.webhooks.tables import DeliveryRow

_DELIVERIES: Table = DeliveryRow.__table__  # type: ignore[attr-defined]  # SQLModel adds it at run time

State = Literal["waiting", "delivered", "given up"]


class Delivery(Value, frozen=True):
    """One message. Times are Unix seconds; due_at is None when nothing more will be tried. fault: of the last try."""

    id: str
    url: str
    body: str
    created_at: float
    due_at: float | None
    tries: int
    delivered_at: float | None
    fault: str

    @property
    def state(self) -> State:
        """How it stands."""
        if self.delivered_at is not None:
            return "delivered"
        return "given up" if self.due_at is None else "waiting"


def message_id(fact_id: str, url: str) -> str:
    """The `webhook-id` of a fact as told to one address: always the same, so that it is told once."""
    return "msg_" + hashlib.blake2b(f"{fact_id}\0{url}".encode(), digest_size=16).hexdigest()


class WebhookStore:
    """The messages in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, session: AsyncSession, fact_id: str, url: str, body: str) -> None:
        """Adds a message to the session's transaction: it is told if and only if that commits.

        fact_id: what has happened, such as `budget:<pool>:0.8`; the same fact is told to the same address once,
        whoever adds it. body: the JSON to send.
        """
        now = time.time()
        row = {
            "id": message_id(fact_id, url), "url": url, "body": body, "created_at": now, "due_at": now,
            "tries": 0, "delivered_at": None, "fault": "",
        }  # fmt: skip
        await session.execute(
            self._database.insert(_DELIVERIES).values(row).on_conflict_do_nothing(index_elements=["id"])
        )

    async def claim(self, now: float, hold_seconds: float, limit: int) -> list[Delivery]:
        """Messages that are due, each to one claimer: counted as tried and not due again for `hold_seconds`.

        A claimer that dies lets them go by that. Its message may have arrived: the receiver knows it by its id.
        """
        rows = _DELIVERIES.c
        # SKIP LOCKED on PostgreSQL; SQLite has one writer, and this is one statement.
        due = select(rows.id).where(rows.due_at <= now).order_by(rows.due_at).limit(limit)
        claimed = (
            _DELIVERIES.update()
            .where(rows.id.in_(due.with_for_update(skip_locked=True).scalar_subquery()))
            .values(tries=rows.tries + 1, due_at=now + hold_seconds)
            .returning(*_DELIVERIES.columns)
        )
        async with self._database.session() as session:
            return [Delivery(*row) for row in await session.execute(claimed)]

    async def delivered(self, delivery: Delivery, now: float) -> None:
        """It was taken."""
        await self._update(delivery.id, None, due_at=None, delivered_at=now, fault="")

    async def failed(self, delivery: Delivery, fault: str, due_at: float | None) -> None:
        """It was not; due_at: when to try again, None for never. Says nothing of a message claimed again since."""
        await self._update(delivery.id, delivery.tries, due_at=due_at, fault=fault[:500])

    async def _update(self, delivery_id: str, tries: int | None, **values: object) -> None:
        rows = _DELIVERIES.c
        update = _DELIVERIES.update().where(rows.id == delivery_id, rows.delivered_at.is_(None))
        if tries is not None:
            update = update.where(rows.tries == tries)
        async with self._database.session() as session:
            await session.execute(update.values(**values))

    async def newest(self, limit: int = 100, *, undelivered: bool = False) -> list[Delivery]:
        """The newest first; all, or those that nobody has taken."""
        query = select(*_DELIVERIES.columns).order_by(_DELIVERIES.c.created_at.desc(), _DELIVERIES.c.id).limit(limit)
        if undelivered:
            query = query.where(_DELIVERIES.c.delivered_at.is_(None))
        async with self._database.session() as session:
            return [Delivery(*row) for row in await session.execute(query)]

    async def retry(self, delivery_id: str) -> Delivery:
        """Has a message tried now, with all its tries before it. Raises NotFound (404), Conflict (409)."""
        rows = _DELIVERIES.c
        query = select(*_DELIVERIES.columns).where(rows.id == delivery_id)
        async with self._database.session() as session:
            again = _DELIVERIES.update().where(rows.id == delivery_id, rows.delivered_at.is_(None))
            await session.execute(again.values(due_at=time.time(), tries=0))
            row = (await session.execute(query)).first()
        if row is None:
            raise NotFound(f"There is no message {delivery_id!r}; `gateway webhooks list` has them.")
        found = Delivery(*row)
        if found.delivered_at is not None:
            raise Conflict(f"The message {delivery_id!r} was delivered; it is not sent a second time.")
        return found

    async def forget(self, before: float) -> int:
        """Deletes messages made before a time that are not due any more; gives how many."""
        rows = _DELIVERIES.c
        async with self._database.session() as session:
            gone = await session.execute(
                _DELIVERIES.delete().where(rows.created_at < before, rows.due_at.is_(None)).returning(rows.id)
            )
            found: Sequence[Any] = gone.all()
            return len(found)
