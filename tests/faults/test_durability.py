"""What an operator buys with `GATEWAY_DURABILITY`: a machine is lost with its disk, and its calls are still booked."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

from tests.fakes.database_proxy import database_proxy
from tests.fakes.offline_server import OfflineServer
from tests.fakes.postgres import Postgres
from tests.fakes.running_gateway import RunningGateway, running_gateway, until

ASKED = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "Count to 5"}]}
IN_FLIGHT = 5
PEPPER = "the pepper of both replicas"


def usage(gateway: RunningGateway) -> Any:
    return gateway.admin("GET", "/admin/usage?by=team")["total"]


def test_calls_in_flight_on_a_machine_that_is_lost_with_its_disk_are_booked_by_another(
    tmp_path: Path, upstream: OfflineServer, postgres: Postgres
) -> None:
    url = postgres.fresh()
    environment = {
        "GATEWAY_DATABASE_URL": url,
        "GATEWAY_DURABILITY": "database",
        "GATEWAY_KEY_PEPPER": PEPPER,
    }
    with running_gateway(tmp_path / "lost", upstream.base_url, environment=environment) as lost:
        assert lost.post("/v1/chat/completions", ASKED, team="red").status_code == 200
        upstream.lay(hang=True)

        async def leave_in_flight() -> None:
            async with lost.async_client("red") as caller:
                tasks = [
                    asyncio.create_task(caller.chat.completions.create(**ASKED))  # type: ignore[call-overload]
                    for _ in range(IN_FLIGHT)
                ]
                await asyncio.sleep(1.0)
                lost.kill()
                await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run(leave_in_flight())
        shutil.rmtree(lost.data)
        # A minute of silence, without waiting for it.
        database = url.partition("/books")[2].partition("?")[0]
        postgres.run(f"\\c books{database}\nUPDATE replicas SET seen_at = 0;")
        with running_gateway(tmp_path / "other", upstream.base_url, environment=environment) as other:
            total = until(
                lambda: found if (found := usage(other))["attempts"] > IN_FLIGHT else None, 20, what="the rows"
            )
            assert (total["attempts"], total["estimated"]) == (1 + IN_FLIGHT, IN_FLIGHT)
            assert total["cost_nano_usd"] > 0
            left = postgres.run(f"\\c books{database}\nSELECT 'left=' || count(*) FROM open_intents;")
            assert "left=0" in left


def test_without_the_database_no_billable_call_is_made_when_that_is_what_counts(
    tmp_path: Path, upstream: OfflineServer, postgres: Postgres
) -> None:
    with database_proxy(postgres.folder) as door:
        environment = {"GATEWAY_DATABASE_URL": door.url(postgres.fresh()), "GATEWAY_DURABILITY": "database"}
        with running_gateway(tmp_path / "g", upstream.base_url, environment=environment) as gateway:
            assert gateway.post("/v1/chat/completions", ASKED, team="red").status_code == 200
            before = upstream.bill()["count"]
            door.turn("stop")
            reply = gateway.post("/v1/chat/completions", ASKED, team="red")
            assert (reply.status_code, reply.json()["error"]["code"]) == (503, "accounting_unavailable")
            assert upstream.bill()["count"] == before
            door.turn("pass")
            until(
                lambda: gateway.post("/v1/chat/completions", ASKED, team="red").status_code == 200,
                15,
                what="a database that takes intents again",
            )


def test_calls_are_served_with_every_intent_synced_to_disk(tmp_path: Path, upstream: OfflineServer) -> None:
    environment = {"GATEWAY_DURABILITY": "fsync"}
    with running_gateway(tmp_path / "g", upstream.base_url, environment=environment) as gateway:
        for _ in range(5):
            assert gateway.post("/v1/chat/completions", ASKED, team="red").status_code == 200
        assert len(gateway.rows_of("red", 5)) == 5
