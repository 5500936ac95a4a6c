"""An app with the official SDK, behind a gateway with two targets of which one has gone bad."""

import asyncio
from collections.abc import Iterator

import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.fakes.running_gateway import RunningGateway
from tests.fakes.scripted_server import Script, Visit
from tests.fakes.two_targets import ANSWER, OK, SSE, chunked, drips, event, hangs, says_500, targets, two_targets

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello"}]
CALLS = 12
JSON = OK + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with two_targets(tmp_path_factory.mktemp("two-targets")) as running:
        yield running


async def drips_either(visit: Visit) -> None:
    streams = b'"stream":true' in visit.body.replace(b" ", b"")
    await (drips(SSE, chunked(event("Hi"))) if streams else drips(JSON, ANSWER))(visit)


FAULTS: dict[str, Script] = {"500": says_500, "hang": hangs, "drip": drips_either}


@pytest.mark.parametrize(("name", "faulty"), FAULTS.items(), ids=FAULTS.keys())
async def test_every_caller_is_served(gateway: RunningGateway, name: str, faulty: Script) -> None:
    """Plain and streamed, all at once: nobody sees that the first target is of no use."""
    client = gateway.async_client()
    model = f"faulty-{list(FAULTS).index(name)}"

    async def plain() -> str | None:
        reply = await client.chat.completions.create(model=model, messages=HELLO)
        return reply.choices[0].message.content

    async def streamed() -> str | None:
        stream = await client.chat.completions.create(model=model, messages=HELLO, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async with targets(gateway, faulty) as (first, second):
        said = await asyncio.gather(*(streamed() if n % 2 else plain() for n in range(CALLS)))
        assert set(said) == {"Well."}
        assert first.visits
        assert len(second.visits) == CALLS
        # By now it is left alone, and costs nobody any time.
        seen = len(first.visits)
        assert await plain() == "Well."
        assert len(first.visits) == seen
    await client.close()
