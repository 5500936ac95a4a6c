"""Files and vector stores in PostgreSQL: shared by replicas; 503 while it is away, and all is there when it is back."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.database_proxy import DatabaseProxy, database_proxy
from tests.fakes.offline_server import OfflineServer
from tests.fakes.postgres import Postgres
from tests.fakes.running_gateway import A_SECOND, RunningGateway, running_gateway, until

QUOKKAS = b"# Quokkas\n\nThe quokka is a small marsupial that lives on Rottnest Island.\n"
ASKED = {"query": "Where does the quokka live?"}


@pytest.fixture
def door(postgres: Postgres) -> Iterator[DatabaseProxy]:
    with database_proxy(postgres.folder) as proxy:
        yield proxy


@pytest.fixture
def replicas(
    tmp_path: Path, running_upstream: OfflineServer, postgres: Postgres, door: DatabaseProxy
) -> Iterator[tuple[RunningGateway, RunningGateway]]:
    """Two replicas, each with a data folder of its own, over one database."""
    environment = {
        "GATEWAY_DATABASE_URL": door.url(postgres.fresh()),
        "GATEWAY_KEY_PEPPER": "a pepper that replicas share",
    }
    base_url = running_upstream.base_url
    with (
        running_gateway(tmp_path / "one", base_url, environment=environment) as one,
        running_gateway(tmp_path / "two", base_url, environment=environment) as two,
    ):
        yield one, two


def test_replicas_share_what_they_keep_and_tell_when_it_is_away(
    replicas: tuple[RunningGateway, RunningGateway], door: DatabaseProxy
) -> None:
    one, two = replicas
    key = one.key()
    headers = {"authorization": f"Bearer {key}"}

    def is_known() -> bool:
        return two.http.get("/v1/models", headers=headers).status_code == 200

    until(is_known, A_SECOND, what="the key on the other replica")
    mine = one.client()
    store = mine.vector_stores.create(name="animals")
    inside = mine.vector_stores.files.upload_and_poll(vector_store_id=store.id, file=("quokka.md", QUOKKAS))
    other = two.client(key=key, max_retries=0)
    assert [one.filename for one in other.vector_stores.search(store.id, query="quokka").data] == ["quokka.md"]
    assert other.files.content(inside.id).read() == QUOKKAS

    door.turn("stop")
    search, listed = f"/v1/vector_stores/{store.id}/search", "/v1/files"
    for method, path in (("POST", search), ("GET", listed), ("GET", f"{listed}/{inside.id}")):
        told = two.http.request(method, path, json=ASKED if method == "POST" else None, headers=headers)
        assert told.status_code == 503, (path, told.text, two.log()[-3000:])
        assert told.json()["error"]["type"] == "server_error"
    door.turn("pass")

    def found() -> bool:
        reply = two.http.post(search, json=ASKED, headers=headers)
        return reply.status_code == 200 and bool(reply.json()["data"])

    until(found, 10.0, what="the file after the outage")
    other.vector_stores.files.delete(inside.id, vector_store_id=store.id)
    assert mine.vector_stores.search(store.id, query="quokka").data == []
