"""Answers of lines: the first that is written stays."""

from collections.abc import AsyncIterator, Sequence

from sqlalchemy import Table, func, select

from gateway.batches.tables import BatchAnswerRow
from gateway.batches.values import Counts
from gateway.db.engine import Database

_ANSWERS: Table = BatchAnswerRow.__table__  # type: ignore[attr-defined]  # SQLModel adds it at run time
AT_ONCE = 200


class AnswerStore:
    """Keeps what lines were answered. number: of a line in its batch's file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, batch_id: str, answers: Sequence[tuple[int, str]], *, are_errors: bool) -> None:
        """Keeps answers, by the numbers of their lines; of a line that has one already the first stays."""
        rows = [
            {"batch_id": batch_id, "number": number, "is_error": are_errors, "line": line} for number, line in answers
        ]
        kept = self._database.insert(_ANSWERS).on_conflict_do_nothing(index_elements=["batch_id", "number"])
        async with self._database.session() as session:
            await session.execute(kept, rows)

    async def numbers(self, batch_id: str) -> set[int]:
        """The lines that have one."""
        async with self._database.session() as session:
            return set(
                (await session.execute(select(_ANSWERS.c.number).where(_ANSWERS.c.batch_id == batch_id))).scalars()
            )

    async def counts(self, batch_ids: Sequence[str]) -> dict[str, Counts]:
        """How many lines of each batch went how."""
        query = select(_ANSWERS.c.batch_id, _ANSWERS.c.is_error, func.count())
        query = query.where(_ANSWERS.c.batch_id.in_(batch_ids)).group_by(_ANSWERS.c.batch_id, _ANSWERS.c.is_error)
        found = {identity: [0, 0] for identity in batch_ids}
        async with self._database.session() as session:
            for identity, is_error, count in await session.execute(query):
                found[identity][bool(is_error)] = int(count)
        return {identity: Counts(*both) for identity, both in found.items()}

    async def lines(self, batch_id: str, *, are_errors: bool) -> AsyncIterator[str]:
        """The answers in the order of their file, some at a time."""
        last = 0
        mine = (_ANSWERS.c.batch_id == batch_id, _ANSWERS.c.is_error == are_errors)
        while True:
            query = select(_ANSWERS.c.number, _ANSWERS.c.line).where(*mine, _ANSWERS.c.number > last)
            async with self._database.session() as session:
                rows = (await session.execute(query.order_by(_ANSWERS.c.number).limit(AT_ONCE))).all()
            for number, line in rows:
                last = number
                yield line
            if len(rows) < AT_ONCE:
                return
