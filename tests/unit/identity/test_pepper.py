from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.core.errors import BadConfiguration
from gateway.identity.pepper import read_pepper


def test_it_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    made = read_pepper(data, None)
    assert len(made) == 64
    assert read_pepper(data, None) == made
    assert (data / "pepper").stat().st_mode & 0o077 == 0
    assert [path.name for path in data.iterdir()] == ["pepper"]


def test_what_is_given_stands_above_the_file(tmp_path: Path) -> None:
    assert read_pepper(tmp_path, "a pepper from outside") == b"a pepper from outside"
    assert not list(tmp_path.iterdir())


def test_a_short_one_is_refused_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration) as caught:
        read_pepper(tmp_path, "hunter2")
    assert "hunter2" not in str(caught.value)
    (tmp_path / "pepper").write_text("short")
    with pytest.raises(BadConfiguration, match="restore it from a backup"):
        read_pepper(tmp_path, None)


def test_a_data_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(BadConfiguration, match="the data folder must be writable"):
        read_pepper(tmp_path / "data", None)


def test_workers_that_start_at_once_read_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: read_pepper(tmp_path / "data", "p" * 16), range(8)))
    assert len(found) == 1
