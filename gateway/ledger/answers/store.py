"""Reads what answers stood on, and the questions that no collection answered."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table, and_, func, or_, select

from gateway.core.values import Value
from gateway.db.engine import Database
from gateway.ledger.tables import AnswerSourceRow, KnowledgeGapRow

_SOURCES: Table = AnswerSourceRow.__table__  # type: ignore[attr-defined]  # SQLModel adds it at run time
_GAPS: Table = KnowledgeGapRow.__table__  # type: ignore[attr-defined]  # the same


class Unanswered(Value, frozen=True):
    """A question that nothing answered. question: '' where its collection keeps none."""

    call_id: str
    at: float
    team: str
    collections: tuple[str, ...]
    kind: str
    outcome: str
    question: str
    score: float | None


class Standing(Value, frozen=True):
    """An answer and the version of a document that it stood on. cited: None when nobody can tell."""

    call_id: str
    at: float
    team: str
    model: str
    collection: str
    version: str
    cited: bool | None


class Tally(Value, frozen=True):
    """How many answers of a team stood on a version of a document in a collection."""

    collection: str
    version: str
    team: str
    cited: bool | None
    answers: int


class AnswerStore:
    """Over the rows that the shipper adds; they go with the usage rows of their month."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def unanswered(
        self, since: float | None, until: float | None, team: str | None, most: int, collection: str | None = None
    ) -> list[Unanswered]:
        """The latest questions that nothing answered, newest first. collection: one that they were looked for in."""
        rows = _GAPS.c
        query = select(_GAPS).order_by(rows.at.desc(), rows.id).limit(most)
        query = query if since is None else query.where(rows.at >= since)
        query = query if until is None else query.where(rows.at < until)
        query = query if team is None else query.where(rows.team == team)
        if collection is not None:
            # They stand in one column, with commas between them; a name has none. LIKE would not tell case on SQLite.
            listed = "," + rows.collections + ","
            query = query.where(func.replace(listed, f",{collection},", "") != listed)
        async with self._database.session() as session:
            found = (await session.execute(query)).mappings().all()
        return [
            Unanswered(
                row["id"],
                row["at"],
                row["team"],
                tuple(name for name in row["collections"].split(",") if name),
                row["kind"],
                row["outcome"],
                row["question"],
                row["score"],
            )
            for row in found
        ]

    async def tallies(
        self, document: str, collection: str | None, since: float | None, team: str | None
    ) -> list[Tally]:
        """The answers that stood on any version of a document, counted."""
        rows = _SOURCES.c
        names = (rows.collection, rows.version, rows.team, rows.cited)
        query = select(*names, func.count(rows.call_id.distinct())).where(*_about(document, collection, since, team))
        async with self._database.session() as session:
            found = (await session.execute(query.group_by(*names))).all()
        return [Tally(*row) for row in found]

    async def standing(
        self,
        document: str,
        versions: Sequence[tuple[str, str]],
        since: float | None,
        team: str | None,
        most: int,
    ) -> list[Standing]:
        """The latest answers that stood on one of these versions of a document, newest first.

        versions: each with its collection, in front.
        """
        if not versions:
            return []
        rows = _SOURCES.c
        wanted = or_(*(and_(rows.collection == name, rows.version == version) for name, version in versions))
        query = select(rows.call_id, rows.at, rows.team, rows.model, rows.collection, rows.version, rows.cited).where(
            wanted, *_about(document, None, since, team)
        )
        async with self._database.session() as session:
            found = (await session.execute(query.order_by(rows.at.desc(), rows.id).limit(most))).all()
        return [Standing(*row) for row in found]


def _about(document: str, collection: str | None, since: float | None, team: str | None) -> list[Any]:
    rows = _SOURCES.c
    where: list[Any] = [rows.document == document]
    where += [] if collection is None else [rows.collection == collection]
    where += [] if since is None else [rows.at >= since]
    where += [] if team is None else [rows.team == team]
    return where
