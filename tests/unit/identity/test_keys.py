import pytest

from gateway.core.call import Headers, Principal
from gateway.core.errors import MissingKey, NotReady, UnknownKey
from gateway.identity.keys import FRESH_SECONDS, PREFIX, Key, KeyRing, digest_of, new_key
from tests.fakes.calls import SUPPORT, inbound

PEPPER = b"0123456789abcdef"


def ring(key: str, expires_at: float | None = None) -> KeyRing:
    made = KeyRing(PEPPER)
    made.replace([Key(digest_of(PEPPER, key), SUPPORT, expires_at)], 0.0)
    return made


def ask(keys: KeyRing, *headers: tuple[bytes, bytes], now: float = 0.0) -> Principal:
    sent: Headers = headers
    return keys.principal(inbound(b"", headers=sent), now)


@pytest.mark.parametrize(
    "header",
    [
        (b"authorization", b"Bearer %b"),
        (b"authorization", b"bearer   %b  "),
        (b"api-key", b"%b"),
    ],
)
def test_a_key_is_taken_from_where_the_sdks_put_it(header: tuple[bytes, bytes]) -> None:
    key = new_key()
    assert ask(ring(key), (header[0], header[1] % key.encode())) == SUPPORT


@pytest.mark.parametrize("value", [None, b"", b"Bearer", b"Bearer ", b"Basic dXNlcjpwYXNz", b"sk-gw-alone"])
def test_no_key_is_not_a_wrong_key(value: bytes | None) -> None:
    headers = () if value is None else ((b"authorization", value),)
    with pytest.raises(MissingKey):
        ask(ring(new_key()), *headers)


def test_a_key_that_differs_in_one_character_is_unknown() -> None:
    key = new_key()
    keys = ring(key)
    for wrong in (key[:-1], key + "x", key.upper(), key[1:], key.replace(PREFIX, "sk-")):
        with pytest.raises(UnknownKey):
            ask(keys, (b"authorization", b"Bearer " + wrong.encode()))


@pytest.mark.parametrize("value", [b"\xff\xfe", b"x" * 100_000, b"sk-gw-\xc3\xa9\xff", b"sk-gw-'; DROP TABLE api_keys"])
def test_any_bytes_are_a_wrong_key_and_no_error(value: bytes) -> None:
    with pytest.raises(UnknownKey):
        ask(ring(new_key()), (b"authorization", b"Bearer " + value))


def test_a_refusal_does_not_repeat_the_key() -> None:
    """Other products' keys are sent here by mistake; ours would be a gift to whoever reads the log."""
    key = new_key()
    for sent, shown in ((key, key[:12]), ("sk-proj-0123456789abcdef", "")):
        with pytest.raises(UnknownKey) as caught:
            ask(ring(new_key()), (b"authorization", f"Bearer {sent}".encode()))
        assert caught.value.message == f"Incorrect API key provided: {shown}***."


def test_a_key_ends_at_its_second() -> None:
    key = new_key()
    keys = ring(key, expires_at=100.0)
    keys.confirm(99.0)
    header = (b"authorization", f"Bearer {key}".encode())
    assert ask(keys, header, now=99.9) == SUPPORT
    with pytest.raises(UnknownKey, match="expired"):
        ask(keys, header, now=100.0)


def test_before_the_keys_are_loaded_nobody_is_turned_away_for_good() -> None:
    """A database that is away must not look like a wrong key."""
    with pytest.raises(NotReady):
        ask(KeyRing(PEPPER), (b"authorization", b"Bearer x"))


def test_a_new_set_of_keys_replaces_the_old_one_whole() -> None:
    old, fresh = new_key(), new_key()
    keys = ring(old)
    keys.replace([Key(digest_of(PEPPER, fresh), SUPPORT)], 0.0)
    assert ask(keys, (b"authorization", f"Bearer {fresh}".encode())) == SUPPORT
    with pytest.raises(UnknownKey):
        ask(keys, (b"authorization", f"Bearer {old}".encode()))


def test_what_is_kept_of_a_key_depends_on_the_pepper() -> None:
    assert digest_of(PEPPER, "k") != digest_of(b"another pepper!!", "k")
    assert digest_of(PEPPER, "k") == digest_of(PEPPER, b"k")
    assert len({new_key() for _ in range(100)}) == 100


def test_a_known_key_works_while_the_database_is_away_for_the_stated_age() -> None:
    key = new_key()
    keys = KeyRing(PEPPER, max_age_seconds=600.0)
    keys.replace([Key(digest_of(PEPPER, key), SUPPORT)], 1000.0)
    header = (b"authorization", f"Bearer {key}".encode())
    assert ask(keys, header, now=1600.0) == SUPPORT
    with pytest.raises(NotReady) as caught:
        ask(keys, header, now=1600.1)
    assert caught.value.status == 503
    keys.confirm(1600.0)
    assert ask(keys, header, now=2200.0) == SUPPORT


def test_a_key_that_may_be_new_is_no_wrong_key_while_the_database_is_away() -> None:
    """It may have been made on another replica since this one last heard of the database."""
    keys = ring(new_key())
    header = (b"authorization", f"Bearer {new_key()}".encode())
    with pytest.raises(UnknownKey):
        ask(keys, header, now=FRESH_SECONDS)
    with pytest.raises(NotReady):
        ask(keys, header, now=FRESH_SECONDS + 0.1)
    with pytest.raises(MissingKey):
        ask(keys, now=FRESH_SECONDS + 0.1)


def test_a_key_that_has_ended_has_ended_whatever_the_database_says() -> None:
    key = new_key()
    keys = ring(key, expires_at=100.0)
    with pytest.raises(UnknownKey, match="expired"):
        ask(keys, (b"authorization", f"Bearer {key}".encode()), now=100.0)


def test_work_goes_on_only_as_long_as_its_key() -> None:
    """What a key began ends with it; a key made just now elsewhere is not taken for a revoked one."""
    keys = ring(new_key(), expires_at=100.0)
    assert keys.is_good(SUPPORT.key_id, 0.0, 50.0)
    assert not keys.is_good(SUPPORT.key_id, 0.0, 100.0)
    assert keys.is_good("", 0.0, 50.0)
    assert keys.is_good("key_new", 0.0, 1.0)
    keys.replace([], 10.0)
    assert not keys.is_good(SUPPORT.key_id, 0.0, 11.0)
    assert keys.is_good(SUPPORT.key_id, 10.0, 11.0)
    assert KeyRing(PEPPER).is_good("key_any", 0.0, 50.0)
