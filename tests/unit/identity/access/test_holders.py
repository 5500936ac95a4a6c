from collections.abc import Callable

import pytest

from gateway.core.errors import NotPermitted, NotReady
from gateway.identity.access.holders import Holders, RoleKey
from gateway.identity.keys import FRESH_SECONDS, digest_of
from gateway.identity.roles import Grant, Holder

PEPPER = b"0123456789abcdef"
CI = Holder("key:rol_1", (Grant("team_viewer", "red"),))
ANN = Holder("oidc:ann@example.com", (Grant("admin"),))


def holders(expires_at: float | None = None) -> Holders:
    made = Holders(PEPPER, max_age_seconds=600.0)
    made.replace([RoleKey(digest_of(PEPPER, "sk-gwr-1"), CI, expires_at)], {"ann@example.com": ANN}, 1000.0)
    return made


def test_a_key_and_an_address_give_their_holder() -> None:
    assert holders().by_key(b"sk-gwr-1", 1000.0) == CI
    assert holders().by_email("ann@example.com", 1000.0) == ANN


def test_who_is_not_known_is_refused() -> None:
    with pytest.raises(NotPermitted):
        holders().by_key(b"sk-gwr-2", 1000.0)
    with pytest.raises(NotPermitted, match="gateway members add"):
        holders().by_email("bob@example.com", 1000.0)
    with pytest.raises(NotPermitted):
        holders(expires_at=1000.0).by_key(b"sk-gwr-1", 1000.0)


def test_while_the_database_is_away_nobody_new_is_refused_and_nobody_known_for_a_time() -> None:
    """Trouble of the database's is no 403."""
    late = 1000.0 + FRESH_SECONDS + 0.1
    asked: tuple[Callable[[], Holder], ...] = (
        lambda: holders().by_key(b"sk-gwr-2", late),
        lambda: holders().by_email("bob@example.com", late),
        lambda: holders().by_key(b"sk-gwr-1", 1600.1),
        lambda: holders().by_email("ann@example.com", 1600.1),
        lambda: Holders(PEPPER).by_key(b"sk-gwr-1", 1e9),
    )
    for ask in asked:
        with pytest.raises(NotReady):
            ask()
    assert holders().by_key(b"sk-gwr-1", 1600.0) == CI
    again = holders()
    again.confirm(1600.0)
    assert again.by_email("ann@example.com", 2200.0) == ANN
