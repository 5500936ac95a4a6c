"""kill -9 in the middle of answers from documents: what they stood on, and what nothing answered, is there once."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.fakes.running_gateway import OfflineProcess, RunningGateway, offline_process, running_gateway

ANSWERED = 24


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[OfflineProcess]:
    with offline_process(tmp_path / "upstream") as process:
        process.lay(delay_ms=200)
        yield process


@pytest.fixture
def gateway(tmp_path: Path, upstream: OfflineProcess) -> Iterator[RunningGateway]:
    with running_gateway(tmp_path / "gateway", upstream.base_url) as running:
        yield running


def told(gateway: RunningGateway, *command: str) -> dict[str, Any]:
    done = gateway.cli("knowledge", *command, "--json")
    assert done.returncode in {0, 1}, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


async def ask(gateway: RunningGateway) -> list[str]:
    """Asks what nobody knows and what is known, and kills the gateway while the latter is being answered."""
    async with gateway.async_client("killed", timeout=20) as client:

        async def one(question: str) -> str:
            reply = await client.chat.completions.create(
                model="kb/help-centre", messages=[{"role": "user", "content": question}]
            )
            return str(reply.id)

        lost = await asyncio.gather(*(one(f"xylophone zwieback {'q' * number}") for number in range(1, ANSWERED + 1)))
        found = [asyncio.create_task(one("How long do refunds take?")) for _ in range(ANSWERED)]
        # Some have ended and the others are under way.
        await asyncio.wait(found, return_when=asyncio.FIRST_COMPLETED)
        cut = [asyncio.create_task(one("How long do refunds take?")) for _ in range(ANSWERED)]
        await asyncio.sleep(0.15)
        gateway.kill()
        ends = await asyncio.gather(*found, *cut, return_exceptions=True)
    assert any(isinstance(end, openai.APIError) for end in ends), "nothing was under way"
    assert len(lost) == ANSWERED
    return [end for end in ends if isinstance(end, str)]


def test_gaps_and_sources_are_kept_once(gateway: RunningGateway) -> None:
    ended = asyncio.run(ask(gateway))
    for _ in range(2):
        gateway.start()
        gaps = told(gateway, "gaps")
        assert gaps["total"] == ANSWERED
        assert gaps["clusters"][0]["count"] == ANSWERED
        rows = gateway.rows("team = 'killed' AND path = 'rag' AND attempt > 0")
        impact = told(gateway, "impact", "refunds.md")
        assert impact["affected"] == 0
        assert impact["up_to_date"] == len(rows) >= len(ended)
        gateway.kill()
    (gateway.policies / "help-centre" / "refunds.md").unlink()
    gateway.start()
    impact = told(gateway, "impact", "refunds.md", "--limit", "5")
    assert impact["affected"] == len(rows)
    assert impact["cited"] >= len(ended)
    assert impact["unknown"] == len([row for row in rows if row["outcome"] == "interrupted"])
    assert (len(impact["listed"]), impact["listed"][0]["current_version"]) == (5, None)
