"""What every part of the suite may ask for."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.fakes.postgres import Postgres, running_postgres

# The same examples on every run: a failure is a change of ours, and a slow machine is none.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for the whole run; each story makes its own database in it."""
    with running_postgres() as server:
        yield server
