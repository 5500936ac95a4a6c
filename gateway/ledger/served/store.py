"""Looks up a call in the books by an id that its caller was told."""

import msgspec
from sqlalchemy import Table, select

from gateway.core.values import Value
from gateway.db.engine import Database
from gateway.ledger.records import DecisionRecord
from gateway.ledger.tables import DecisionRow, UsageEventRow

_EVENTS: Table = UsageEventRow.__table__  # type: ignore[attr-defined]  # SQLModel adds it at run time
_DECISIONS: Table = DecisionRow.__table__  # type: ignore[attr-defined]  # the same
# Rows beside a call's own: what was embedded for it, and a look at its answer.
BESIDE = ("judge", "retrieval", "rerank", "shadow")


class Served(Value, frozen=True):
    """A call. line: of the model that answered, None for another; model: its id at the upstream. at: Unix seconds."""

    call_id: str
    decision_id: str
    team: str
    at: float
    line: str | None
    model: str


class ServedCalls:
    """Over the rows that the shipper adds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, identity: str) -> Served | None:
        """A call of any team by its own id or its decision's; None for one that is not in the books (yet)."""
        named = (_DECISIONS.c.id == identity) | (_DECISIONS.c.call_id == identity)
        rows = _EVENTS.c
        async with self._database.session() as session:
            found = (await session.execute(select(_DECISIONS.c.record).where(named).limit(1))).scalar_one_or_none()
            if found is None:
                return None
            record = msgspec.json.decode(found, type=DecisionRecord)
            query = select(rows.line, rows.model).where(
                rows.call_id == record.call_id, rows.last.is_(True), rows.endpoint.not_in(BESIDE)
            )
            answered = (await session.execute(query.order_by(rows.attempt.desc()).limit(1))).first()
        # A fallback may have answered, and not the arm that was chosen.
        line, model = (record.line, record.model) if answered is None else (answered[0], answered[1])
        return Served(record.call_id, record.id, record.team, record.at, line, model)
