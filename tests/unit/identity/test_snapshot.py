"""The keys on disk: digests only, whole or not at all, and no older than they say."""

from pathlib import Path

import msgspec
import pytest

from gateway.identity.keys import Key, digest_of, new_key
from gateway.identity.snapshot import NAME, Snapshot, load_snapshot, save_snapshot
from tests.fakes.calls import SUPPORT

PEPPER = b"0123456789abcdef"
KEY = new_key()
BOUND = msgspec.structs.replace(
    SUPPORT, organisation="acme", allowed_models=("a*",), allowed_paths=("rag",), metadata=(("env", "prod"),)
)
HELD = Snapshot(100.0, (Key(digest_of(PEPPER, KEY), BOUND, 500.0), Key(digest_of(PEPPER, "x"), SUPPORT)))


def test_what_was_saved_is_what_is_loaded(tmp_path: Path) -> None:
    save_snapshot(tmp_path, PEPPER, HELD)
    assert load_snapshot(tmp_path, PEPPER, 200.0) == HELD
    save_snapshot(tmp_path, PEPPER, Snapshot(150.0, ()))
    assert load_snapshot(tmp_path, PEPPER, 200.0) == Snapshot(150.0, ())


def test_only_its_owner_may_read_it_and_no_key_is_in_it(tmp_path: Path) -> None:
    save_snapshot(tmp_path, PEPPER, HELD)
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    held = (tmp_path / NAME).read_bytes()
    assert KEY.encode() not in held
    assert KEY[12:].encode() not in held


def test_a_file_that_is_not_there_whole_and_ours_is_none(tmp_path: Path) -> None:
    assert load_snapshot(tmp_path, PEPPER, 200.0) is None
    save_snapshot(tmp_path, PEPPER, HELD)
    assert load_snapshot(tmp_path, b"another pepper!!", 200.0) is None
    whole = (tmp_path / NAME).read_bytes()
    for cut in range(len(whole)):
        (tmp_path / NAME).write_bytes(whole[:cut])
        assert load_snapshot(tmp_path, PEPPER, 200.0) is None
    for place in range(len(whole)):
        (tmp_path / NAME).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert load_snapshot(tmp_path, PEPPER, 200.0) is None


def test_a_clock_that_ran_ahead_lengthens_no_life(tmp_path: Path) -> None:
    save_snapshot(tmp_path, PEPPER, HELD)
    found = load_snapshot(tmp_path, PEPPER, 40.0)
    assert found is not None
    assert found.confirmed_at == 40.0


def test_a_folder_that_takes_nothing_keeps_the_old_one(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        save_snapshot(tmp_path / "nowhere", PEPPER, HELD)
