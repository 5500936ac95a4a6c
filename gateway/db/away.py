"""A database that is away, as whoever asked for what is kept in it is told."""

import contextlib
from collections.abc import Iterator

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from gateway.core.errors import NotReady

RETRY_SECONDS = 1


def is_away(fault: BaseException) -> bool:
    """Whether this came of a database that cannot be reached or does not answer, and not of what it was asked."""
    if isinstance(fault, OperationalError | InterfaceError | PoolTimeout):
        return True
    # asyncpg's own connection errors are not all wrapped; `connection_invalidated` is SQLAlchemy's word for the rest.
    is_broken = isinstance(fault, DBAPIError) and fault.connection_invalidated
    # A socket that is not there raises FileNotFoundError without a name; a file that is not there has one.
    return is_broken or (isinstance(fault, OSError) and fault.filename is None)


@contextlib.contextmanager
def told_when_away(what: str) -> Iterator[None]:
    """Raises NotReady (503) for a database that is away. what: of the gateway is kept there, `files` for instance."""
    try:
        yield
    except (SQLAlchemyError, OSError) as fault:
        if not is_away(fault):
            raise
        raise NotReady(f"The database that keeps {what} does not answer.", retry_after_seconds=RETRY_SECONDS) from fault
