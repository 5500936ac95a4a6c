"""Models that jobs made in the database: whose they are, who else may call them, which are deleted."""

from collections.abc import Sequence

from sqlalchemy import Table, delete, select, update

from gateway.core.ids import new_id
from gateway.core.page import Page, PageAsked
from gateway.core.values import Value
from gateway.db.engine import Database
from gateway.db.paging import page_of
from gateway.tuning.jobs.store import Model
from gateway.tuning.jobs.tables import ModelPermissionRow, TunedModelRow
from gateway.tuning.jobs.values import Permission

_MODELS: Table = TunedModelRow.__table__  # type: ignore[attr-defined]  # SQLModel adds it at run time
_PERMISSIONS: Table = ModelPermissionRow.__table__  # type: ignore[attr-defined]  # the same


# No team is named so; an upstream's own names must not let a deleted model be called again.
NOBODY = "-"


class Allowed(Value, frozen=True):
    """A model that may be called. teams: who may."""

    id: str
    upstream: str
    teams: tuple[str, ...]


class TunedModels:
    """Keeps them. One that is deleted stays known, so that its name is nobody else's."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, identity: str) -> Model | None:
        """A model of any team that is not deleted, or None."""
        here = (_MODELS.c.id == identity) & _MODELS.c.deleted_at.is_(None)
        async with self._database.session() as session:
            row = (await session.execute(select(*_MODELS.columns).where(here))).first()
        return None if row is None else Model(*row)

    async def allowed(self) -> list[Allowed]:
        """All that were ever made, by id; nobody may call one that is deleted."""
        async with self._database.session() as session:
            models = list(await session.execute(select(*_MODELS.columns)))
            permissions = list(await session.execute(select(_PERMISSIONS.c.model, _PERMISSIONS.c.team)))
        others: dict[str, list[str]] = {}
        for model, team in permissions:
            others.setdefault(model, []).append(team)
        found = [Model(*row) for row in models]
        return [
            Allowed(
                one.id,
                one.upstream,
                (NOBODY,) if one.deleted_at is not None else tuple(sorted({one.team, *others.get(one.id, ())})),
            )
            for one in sorted(found, key=lambda one: one.id)
        ]

    async def delete(self, identity: str, now: float) -> None:
        """Lets nobody call it any more."""
        async with self._database.session() as session:
            await session.execute(update(_MODELS).where(_MODELS.c.id == identity).values(deleted_at=now))

    async def permit(self, model: str, teams: Sequence[str], now: float) -> list[Permission]:
        """Lets teams call a model. One that may already keeps the permission it has."""
        wanted = (_PERMISSIONS.c.model == model) & _PERMISSIONS.c.team.in_(list(teams))
        async with self._database.session() as session:
            for team in dict.fromkeys(teams):
                row = {"id": new_id("cp"), "model": model, "team": team, "created_at": now}
                await session.execute(self._database.insert(_PERMISSIONS).values(row).on_conflict_do_nothing())
            rows = await session.execute(select(*_PERMISSIONS.columns).where(wanted))
            return [Permission(*row) for row in rows]

    async def permissions(self, model: str, asked: PageAsked, team: str | None = None) -> Page[Permission]:
        """A page of a model's permissions, of one team or all."""
        query = select(*_PERMISSIONS.columns).where(_PERMISSIONS.c.model == model)
        if team is not None:
            query = query.where(_PERMISSIONS.c.team == team)
        async with self._database.session() as session:
            rows, has_more = await page_of(session, query, _PERMISSIONS, asked)
        return Page(tuple([Permission(*row) for row in rows]), has_more)

    async def forbid(self, model: str, permission_id: str) -> bool:
        """Takes a permission back; False when there is none of that id."""
        here = (_PERMISSIONS.c.model == model) & (_PERMISSIONS.c.id == permission_id)
        async with self._database.session() as session:
            done = await session.execute(delete(_PERMISSIONS).where(here))
        return bool(done.rowcount)  # type: ignore[attr-defined]  # of a DELETE it is there
