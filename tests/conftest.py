"""What every part of the suite may ask for."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.fakes.postgres import Postgres, running_postgres

# Nobody here talks to the world. The world's certificates take 20 ms to read, for each of thousands of clients.
os.environ["SSL_CERT_FILE"] = str(Path(__file__).parent / "fixtures" / "authority.pem")

# The same examples on every run: a failure is a change of ours, and a slow machine is none.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")


def pytest_collection_finish() -> None:
    """Nine thousand collected tests stay: the garbage collector need not look at them again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for the whole run; each story makes its own database in it."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a language model that this run made itself."""
    pytest.importorskip("torch", reason="training needs the extra `train`, which is not installed")
    pytest.importorskip("peft", reason="training needs the extra `train`, which is not installed")
    from tests.fakes.tiny_model import save_tiny_model  # noqa: PLC0415  # needs torch, which may not be there

    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")
