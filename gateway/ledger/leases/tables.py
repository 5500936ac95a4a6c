"""Rows of budgets, of what replicas may spend of them, and of limits. Money is an integer of nano-dollars."""

from sqlalchemy import BigInteger, Column, Index, LargeBinary
from sqlmodel import Field, SQLModel


def _big(*, nullable: bool = True) -> Column[int]:
    return Column(BigInteger, nullable=nullable)


class BudgetRow(SQLModel, table=True):
    """How much somebody may spend in a window. A team's monthly budget in UTC stands with the team itself.

    scope: organisation, team, key or metadata; name: of whom (`k=v` for metadata). window: day, week, month, quarter,
    year or total. thresholds: JSON list of percents that are told to `webhook`. is_hard: calls are refused at the end.
    """

    __tablename__ = "budgets"
    __table_args__ = (Index("budgets_of", "scope", "name", "window", "time_zone", unique=True),)

    id: str = Field(primary_key=True)
    scope: str
    name: str
    window: str
    time_zone: str
    limit_nano_usd: int = Field(sa_column=_big(nullable=False))
    is_hard: bool
    thresholds: str
    webhook: str
    created_at: float


class PoolRow(SQLModel, table=True):
    """One budget in one of its periods. base: spent by rows from before the budget was known. spent: by rows since.

    wanted: grows when a replica asks the others to give back what they do not need.
    """

    __tablename__ = "budget_pools"

    id: str = Field(primary_key=True)
    budget_id: str = Field(index=True)
    starts_at: float
    base_nano_usd: int = Field(sa_column=_big(nullable=False))
    spent_nano_usd: int = Field(sa_column=_big(nullable=False))
    wanted: int = Field(sa_column=_big(nullable=False))
    told: str = ""


class LeaseRow(SQLModel, table=True):
    """What one replica may spend of a pool without asking. granted, shipped: sums over the period.

    seen: the pool's `wanted` up to which this replica has given back what it did not need.
    """

    __tablename__ = "budget_leases"

    pool_id: str = Field(primary_key=True)
    replica: str = Field(primary_key=True, index=True)
    granted_nano_usd: int = Field(sa_column=_big(nullable=False))
    shipped_nano_usd: int = Field(sa_column=_big(nullable=False))
    seen: int = Field(sa_column=_big(nullable=False))


class ReplicaRow(SQLModel, table=True):
    """A serving process. seen_at: by the database's clock; closed_at: when its leases came back."""

    __tablename__ = "replicas"

    id: str = Field(primary_key=True)
    started_at: float
    seen_at: float
    closed_at: float | None = None


class OpenIntentRow(SQLModel, table=True):
    """An attempt that was about to be sent, with `GATEWAY_DURABILITY=database`. record: as in the journal."""

    __tablename__ = "open_intents"

    id: str = Field(primary_key=True)
    replica: str = Field(index=True)
    record: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class LimitRow(SQLModel, table=True):
    """How fast an organisation, a team or a key may go; NULL is no limit. Over all replicas together."""

    __tablename__ = "rate_limits"

    scope: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = Field(default=None, sa_column=_big())
    concurrency: int | None = None
