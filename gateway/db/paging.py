"""Pages of rows that are ordered by when they were made, and by id among those of one moment."""

from typing import Any

from sqlalchemy import ColumnElement, Select, Table, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.core.errors import InvalidRequest
from gateway.core.page import PageAsked

# Ids of our own carry the millisecond at which they were made: see core/ids.py.
_HEX = 12
# How many hex digits an id of ours ends with.
ID_DIGITS = 32


async def page_of(
    session: AsyncSession,
    query: Select[Any],
    table: Table,
    asked: PageAsked,
    *,
    name: str = "id",
    moment: str = "created_at",
    within: ColumnElement[bool] | None = None,
) -> tuple[list[Any], bool]:
    """The rows of a page of `query`, and whether more follow in the direction asked for.

    table: has the column `moment`, by which it is ordered, and the column `name` that cursors name. within: where the
    cursor's row is looked for, when its name alone is not enough. A cursor whose row was deleted since still has its
    place, as its id says when it was made. Raises InvalidRequest (400) for one that names nothing.
    """
    backwards = asked.after is None and asked.before is not None
    cursor = asked.before if backwards else asked.after
    descends = (asked.order == "desc") != backwards
    at, key = table.c[moment], table.c[name]
    if cursor is not None:
        row = select(at).where(key == cursor)
        row = row if within is None else row.where(within)
        place = await _moment(session, row, cursor, "before" if backwards else "after")
        beyond = (at < place, key < cursor) if descends else (at > place, key > cursor)
        query = query.where(or_(beyond[0], and_(at == place, beyond[1])))
    query = query.order_by(at.desc() if descends else at, key.desc() if descends else key)
    rows = list(await session.execute(query.limit(asked.limit + 1)))
    has_more = len(rows) > asked.limit
    rows = rows[: asked.limit]
    return (rows[::-1] if backwards else rows), has_more


async def _moment(session: AsyncSession, row: Select[Any], cursor: str, param: str) -> float:
    found = (await session.execute(row.limit(1))).scalar()
    if found is not None:
        return float(found)
    digits = cursor[-ID_DIGITS:][:_HEX]
    try:
        if len(digits) == _HEX:
            return int(digits, 16) / 1000
    except ValueError:
        pass
    raise InvalidRequest(f"{cursor!r} is not an item of this list.", param=param)
