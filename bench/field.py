"""The field of one run: the upstream, and the systems that stand between it and the load."""

import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from bench.litellm import LiteLlm
from bench.load import Target
from bench.nginx import Nginx
from bench.place import Unavailable, cores, free_port, fresh
from bench.policies import write_policies
from bench.process import Process, clean_environment
from bench.switchyard import Switchyard

CHAT = "/v1/chat/completions"
DIRECT, NGINX, RELAY, SWITCHYARD, LITELLM = "direct", "nginx proxy", "bare relay", "Switchyard", "LiteLLM"


def relay(stack: ExitStack, upstream_port: int, folder: Path) -> tuple[Process, int]:
    """uvicorn with the gateway's transport and no gateway, in front of one upstream port."""
    port = free_port()
    command = [sys.executable, "-m", "bench.relay_app", str(port), str(upstream_port)]
    process = Process(command, cores().server, folder / f"relay-{port}.log", clean_environment())
    stack.enter_context(process)
    process.wait_ready(port, "/")
    return process, port


def paced(stack: ExitStack, folder: Path) -> int:
    """The port of an upstream with 10 ms between its events, on the load's cores."""
    port = free_port()
    command = [sys.executable, "-m", "bench.paced", str(port)]
    process = Process(command, cores().load, folder / "paced.log", clean_environment())
    stack.enter_context(process)
    process.wait_listening(port)
    return port


def upstreams(nginx: Nginx) -> dict[str, str]:
    """The base URLs of an nginx upstream, by the names that policies give them."""
    return {"plain": local(nginx.plain_port) + "/v1", "stream": local(nginx.stream_port) + "/v1"}


def local(port: int) -> str:
    """A loopback URL."""
    return f"http://127.0.0.1:{port}"


def switchyard(stack: ExitStack, name: str, urls: Mapping[str, str], **options: object) -> Switchyard:
    """A gateway of its own with the whole line on. options: of write_policies and of Switchyard."""
    folder = fresh(name)
    of_policies = {key: options.pop(key) for key in ("rule_count", "collections") if key in options}
    on = options.pop("on", cores().server)
    policies = write_policies(folder / "policies", urls, **of_policies)  # type: ignore[arg-type]
    return stack.enter_context(Switchyard(folder, policies, on, **options))  # type: ignore[arg-type]


class Field:
    """All of them, started once. `with` ends them. rival_missing: why LiteLLM is not among them."""

    def __init__(self, name: str) -> None:
        self._stack = ExitStack()
        self.rival_missing = ""
        try:
            self._start(name)
        except BaseException:
            self._stack.close()
            raise

    def _start(self, name: str) -> None:
        server = cores().server
        self.folder = fresh(name)
        self.upstream = self._stack.enter_context(Nginx(f"{name}-upstream", cores().load))
        self.direct = self._stack.enter_context(Nginx(f"{name}-direct", server))
        self.proxy = self._stack.enter_context(Nginx(f"{name}-proxy", server, self.upstream))
        self.relays = {
            kind: relay(self._stack, port, self.folder)
            for kind, port in (("plain", self.upstream.plain_port), ("stream", self.upstream.stream_port))
        }
        self.switchyard = switchyard(self._stack, f"{name}-switchyard", upstreams(self.upstream))
        self.rival: LiteLlm | None = None
        try:
            self.rival = self._stack.enter_context(LiteLlm(self.upstream, server))
        except (Unavailable, RuntimeError) as fault:
            self.rival_missing = str(fault)

    def targets(self, kind: str) -> list[Target]:
        """Everyone, for plain calls or for streams."""

        def at(nginx: Nginx) -> str:
            return local(nginx.plain_port if kind == "plain" else nginx.stream_port) + CHAT

        relayed, port = self.relays[kind]
        ours = self.switchyard
        found = [
            Target(DIRECT, self.direct.process, at(self.direct), {}),
            Target(NGINX, self.proxy.process, at(self.proxy), {}),
            Target(RELAY, relayed, local(port) + CHAT, {}),
            Target(SWITCHYARD, ours.process, ours.url + "/chat/completions", ours.headers),
        ]
        if self.rival is not None:
            url = self.rival.url + "/chat/completions"
            few = 4 if kind == "plain" else 2
            found.append(Target(LITELLM, self.rival.process, url, self.rival.headers, few, warm_seconds=3.0))
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
