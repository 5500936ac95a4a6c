"""What the handlers of /admin need."""

from decimal import Decimal, InvalidOperation
from typing import Annotated

import msgspec
from litestar.datastructures import State

from gateway.answered import Answers
from gateway.core.errors import InvalidRequest
from gateway.core.money import nano_from_usd
from gateway.identity.access.store import AccessStore
from gateway.identity.store import IdentityStore
from gateway.knowledge.library import Library
from gateway.ledger.bookkeeping import Bookkeeping
from gateway.pipeline import Pipeline

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class Admin:
    """One per app, under `state.admin`."""

    def __init__(
        self,
        identity: IdentityStore,
        access: AccessStore,
        books: Bookkeeping,
        pipeline: Pipeline,
        answers: Answers,
        library: Library,
    ) -> None:
        self.identity = identity
        self.access = access
        self.books = books.store
        self.rules = books.rules
        self.leases = books.leases
        self.pipeline = pipeline
        self.answers = answers
        self.library = library


def admin(state: State) -> Admin:
    """The app's."""
    found: Admin = state.admin
    return found


def nano_of(usd: str | None, param: str = "monthly_budget_usd") -> int | None:
    """An amount in nano-dollars; None for none. Raises InvalidRequest (400) for text that is no amount."""
    if usd is None:
        return None
    try:
        if Decimal(usd) < 0:
            raise InvalidRequest(f"{param} is {usd!r}; it must be 0 or more.", param=param)
        return nano_from_usd(usd)
    except (ValueError, InvalidOperation):
        raise InvalidRequest(f"{param} is {usd!r}; it must be an amount in USD.", param=param) from None
