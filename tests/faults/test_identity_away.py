"""The database of keys is away, and one replica revokes what another one serves."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from gateway.core.settings import LEAST_KEYS_AGE
from gateway.identity.snapshot import NAME
from tests.fakes.offline_server import OfflineServer
from tests.fakes.postgres import Postgres
from tests.fakes.running_gateway import A_SECOND, RunningGateway, running_gateway, until

ASKED = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "Count to 5"}]}
PEPPER = {"GATEWAY_KEY_PEPPER": "a pepper that replicas share"}
MAX_AGE_SECONDS = LEAST_KEYS_AGE


def asked(gateway: RunningGateway, key: str) -> int:
    """The status of one call, on a connection of its own: any worker may get it."""
    with httpx2.Client(timeout=10) as client:
        headers = {"authorization": f"Bearer {key}"}
        return client.post(f"{gateway.base_url}/chat/completions", json=ASKED, headers=headers).status_code


@pytest.fixture
def replicas(
    tmp_path: Path, running_upstream: OfflineServer, postgres: Postgres
) -> Iterator[tuple[RunningGateway, RunningGateway, str]]:
    """Two replicas, each with a data folder of its own, and the name of the database that they share."""
    url = postgres.fresh()
    environment = PEPPER | {
        "GATEWAY_DATABASE_URL": url,
        "GATEWAY_KEYS_MAX_AGE_SECONDS": str(MAX_AGE_SECONDS),
    }
    base_url = running_upstream.base_url
    with (
        running_gateway(tmp_path / "one", base_url, environment=environment) as one,
        running_gateway(tmp_path / "two", base_url, environment=environment) as two,
    ):
        yield one, two, url.partition("@/")[2].partition("?")[0]


def test_a_key_revoked_through_one_replica_ends_on_the_other_within_a_second(
    replicas: tuple[RunningGateway, RunningGateway, str],
) -> None:
    one, two, _ = replicas
    key = one.key("shared")
    until(lambda: asked(two, key) == 200, A_SECOND, what="the key on the other replica")
    [info] = one.admin("GET", "/admin/keys?team=shared")
    one.admin("DELETE", f"/admin/keys/{info['id']}")
    until(lambda: asked(two, key) == 401, A_SECOND, what="its end on the other replica")
    until(lambda: asked(one, key) == 401, A_SECOND, what="its end on its own replica")


def test_a_role_revoked_through_one_replica_ends_on_the_other_within_a_second(
    replicas: tuple[RunningGateway, RunningGateway, str],
) -> None:
    one, two, _ = replicas
    made = one.admin("POST", "/admin/roles", {"name": "ops", "role": "admin"})
    headers = {"authorization": f"Bearer {made['key']}"}

    def is_open(gateway: RunningGateway) -> bool:
        return gateway.http.get("/admin/teams", headers=headers).status_code == 200

    until(lambda: is_open(two), A_SECOND, what="the role on the other replica")
    one.admin("DELETE", f"/admin/roles/{made['info']['id']}")
    until(lambda: not is_open(two), A_SECOND, what="its end on the other replica")


def test_a_key_revoked_through_one_worker_ends_on_the_other_within_a_second(
    tmp_path: Path, running_upstream: OfflineServer
) -> None:
    with running_gateway(tmp_path / "g", running_upstream.base_url, workers=2) as gateway:
        key = gateway.key("shared")
        until(lambda: {asked(gateway, key) for _ in range(16)} == {200}, 5, what="the key on both workers")
        [info] = gateway.admin("GET", "/admin/keys?team=shared")
        gateway.admin("DELETE", f"/admin/keys/{info['id']}")
        until(lambda: {asked(gateway, key) for _ in range(16)} == {401}, 5, what="its end on both workers")


def test_while_the_database_is_away_known_keys_work_for_the_stated_age_and_none_is_called_wrong(
    replicas: tuple[RunningGateway, RunningGateway, str], postgres: Postgres
) -> None:
    one, _, database = replicas
    key = one.key("patient")
    role = one.admin("POST", "/admin/roles", {"name": "ops", "role": "metrics"})["key"]
    until(lambda: "needs the role" in reading(one, role).text, A_SECOND, what="a role key for something else")
    refuse(postgres, database)
    try:
        until(lambda: asked(one, "sk-gw-made-meanwhile") == 503, 4, what="a key that cannot be checked")
        assert asked(one, key) == 200
        assert reading(one, role).status_code == 403, "it is known, and known to be for something else"
        assert reading(one, "sk-gwr-made-meanwhile").status_code == 503
        seen = set()

        def is_too_old() -> bool:
            seen.add(asked(one, key))
            return 503 in seen

        until(is_too_old, MAX_AGE_SECONDS + 4, what="the end of the stated age")
        assert seen == {200, 503}
        assert reading(one, role).status_code == 503
    finally:
        postgres.run(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true")
    until(lambda: asked(one, key) == 200, 10, what="service")
    until(lambda: asked(one, "sk-gw-made-meanwhile") == 401, 4, what="a wrong key that is called wrong")


def reading(gateway: RunningGateway, role_key: str) -> httpx2.Response:
    return gateway.http.get("/admin/teams", headers={"authorization": f"Bearer {role_key}"})


def refuse(postgres: Postgres, database: str) -> None:
    """The server is there, and takes nobody in; who was in is thrown out."""
    postgres.run(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")
    postgres.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")


def test_keys_are_left_on_disk_for_a_start_without_the_database(
    tmp_path: Path, running_upstream: OfflineServer
) -> None:
    with running_gateway(tmp_path / "g", running_upstream.base_url) as gateway:
        key = gateway.key("kept")
        path = gateway.data / NAME
        assert path.stat().st_mode & 0o777 == 0o600
        held = path.read_bytes()
        assert b"kept" in held
        assert key.encode() not in held
