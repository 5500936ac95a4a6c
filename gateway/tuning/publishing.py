"""Adapters on vLLM: loaded under their name on every replica, and taken out again; asked and looked at, not hoped."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from gateway.core.errors import UpstreamFailed, UpstreamTimeout

AGAIN_SECONDS = 15.0

log = logging.getLogger("gateway.tuning")


class Asks(Protocol):
    """What is needed of an HTTP client; `upstream.fetch.Fetcher` fits. Loading can take minutes."""

    async def get(self, url: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Status and body."""
        ...

    async def send_json(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """Status and body."""
        ...


class NotPublished(UpstreamFailed):
    """Some replicas do not have it as they should; the text names each. Asking again does what is left to do."""


class _Listed(msgspec.Struct):
    id: str
    root: str | None = None


class _List(msgspec.Struct):
    data: list[_Listed]


class _Fault(msgspec.Struct):
    message: str = ""


class _Refusal(msgspec.Struct):
    """vLLM has had both forms."""

    error: _Fault | None = None
    message: str = ""


async def publish(asks: Asks, base_urls: Sequence[str], name: str, path: str, headers: Mapping[str, str]) -> None:
    """Has every replica serve the adapter at `path`, which is a path that the replicas see, under `name`.

    base_urls: with their `/v1`. A replica that has it already is left alone; one that has another adapter under the
    name is given this one in its place. Raises NotPublished with what each replica said.
    """
    await _everywhere(base_urls, lambda url: _load(asks, url, name, path, headers))


async def withdraw(asks: Asks, base_urls: Sequence[str], name: str, headers: Mapping[str, str]) -> None:
    """Has no replica serve `name` any more; one that never did is fine. Raises NotPublished."""
    await _everywhere(base_urls, lambda url: _unload(asks, url, name, headers))


async def keep_published(
    asks: Asks, base_urls: Sequence[str], adapters: Callable[[], Mapping[str, str]], headers: Mapping[str, str]
) -> None:
    """Publishes what is missing somewhere, over and over: a replica that was restarted has forgotten its adapters.

    adapters: paths by name, as they are now. Ends only by cancellation.
    """
    while True:
        for name, path in adapters().items():
            try:
                await publish(asks, base_urls, name, path, headers)
            except NotPublished as fault:
                log.warning("adapter_not_published", extra={"fields": {"model": name, "error": fault.message[:300]}})
        await asyncio.sleep(AGAIN_SECONDS)


async def _everywhere(base_urls: Sequence[str], ask: "Step") -> None:
    told = await asyncio.gather(*(_told(url, ask) for url in base_urls))
    if faults := [fault for fault in told if fault is not None]:
        raise NotPublished(" ".join(faults))


class Step(Protocol):
    """What is done at one replica: why it was not, or None."""

    async def __call__(self, url: str, /) -> str | None:
        """May raise UpstreamFailed and UpstreamTimeout."""
        ...


async def _told(url: str, ask: Step) -> str | None:
    try:
        fault = await ask(url.rstrip("/"))
    except (UpstreamFailed, UpstreamTimeout) as failed:
        fault = failed.message
    return None if fault is None else f"{url}: {fault}"


async def _load(asks: Asks, url: str, name: str, path: str, headers: Mapping[str, str]) -> str | None:
    before = await _roots(asks, url, headers)
    if before.get(name, "") == path:
        return None
    body = {"lora_name": name, "lora_path": path} | ({"load_inplace": True} if name in before else {})
    status, reply = await asks.send_json("POST", f"{url}/load_lora_adapter", headers, msgspec.json.encode(body))
    # Another gateway may have been faster, and replies get lost: what counts is whether it is there now.
    has_it = name in await _roots(asks, url, headers)
    if status < 300:
        return None if has_it else f"it took {name!r} and does not list it."
    return None if has_it and name not in before else _why(status, reply, "load")


async def _unload(asks: Asks, url: str, name: str, headers: Mapping[str, str]) -> str | None:
    if name not in await _roots(asks, url, headers):
        return None
    body = msgspec.json.encode({"lora_name": name})
    status, reply = await asks.send_json("POST", f"{url}/unload_lora_adapter", headers, body)
    if name not in await _roots(asks, url, headers):
        return None
    return f"it still lists {name!r}." if status < 300 else _why(status, reply, "unload")


async def _roots(asks: Asks, url: str, headers: Mapping[str, str]) -> dict[str, str | None]:
    """Where each model of the replica comes from. Raises UpstreamFailed when it does not say."""
    status, body = await asks.get(f"{url}/models", headers)
    if status != 200:
        raise UpstreamFailed(f"its list of models is answered {status}.")
    try:
        listed = msgspec.json.decode(body, type=_List).data
    except msgspec.DecodeError:
        raise UpstreamFailed("its list of models cannot be read.") from None
    return {model.id: model.root for model in listed}


def _why(status: int, reply: bytes, what: str) -> str:
    if status in {404, 405} and b"lora" not in reply.lower():
        return (
            f"it has no route to {what} adapters; vLLM needs --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=true."
        )
    try:
        refusal = msgspec.json.decode(reply, type=_Refusal)
    except msgspec.DecodeError:
        return f"it answered {status}."
    said = (refusal.error.message if refusal.error is not None else "") or refusal.message
    return f"it answered {status}: {said[:300]}" if said else f"it answered {status}."
