"""What every part of the suite may ask for."""

from collections.abc import Iterator

import pytest

from tests.fakes.postgres import Postgres, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for the whole run; each story makes its own database in it."""
    with running_postgres() as server:
        yield server
