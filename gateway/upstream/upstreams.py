"""The upstreams of models.yaml, made ready: address, credential, deadlines, breakers."""

import base64
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from gateway.core.call import Headers
from gateway.core.clock import Clock
from gateway.core.decision import CallLimits
from gateway.core.errors import BadConfiguration
from gateway.core.settings import secret
from gateway.policy.models_file import UpstreamEntry
from gateway.upstream.breaker import Breaker, State
from gateway.upstream.port import Deadlines, Origin, Transport
from gateway.upstream.retry_budget import RetryBudget

PORTS = {"http": 80, "https": 443}
# Targets are named by callers where `*` is allowed; past this many the breakers start anew.
MAX_TARGETS = 2048


class Upstream:
    """One upstream. takes_stream_options: turns False for good when it refuses them once."""

    def __init__(
        self,
        name: str,
        entry: UpstreamEntry,
        origin: Origin,
        headers: Headers,
        transport: Transport,
        monotonic: Callable[[], float],
    ) -> None:
        self.name = name
        self.entry = entry
        self.origin = origin
        self.headers = headers
        self.transport = transport
        self.attempts = entry.attempts
        self.retries = RetryBudget(entry.retry_budget, monotonic)
        self.takes_stream_options = entry.supports.stream_options
        self.drains = entry.on_disconnect == "drain"
        limits = entry.timeouts
        self.deadlines = Deadlines(
            connect_seconds=limits.connect,
            first_byte_seconds=limits.first_byte,
            between_seconds=limits.between,
            total_seconds=limits.total,
            first_token_seconds=limits.first_token,
        )


class Upstreams:
    """All of them, replaced as a whole on reload; breakers outlive a reload."""

    def __init__(self, transports: Mapping[str, Transport], environment: Mapping[str, str], clock: Clock) -> None:
        self._transports = transports
        self._environment = environment
        self.clock = clock
        self._upstreams: dict[str, Upstream] = {}
        self._breakers: dict[tuple[str, str, CallLimits | None], Breaker] = {}

    def build(self, entries: Mapping[str, UpstreamEntry]) -> dict[str, Upstream]:
        """The upstreams that entries mean, not yet in use. Raises BadConfiguration for a secret that is missing."""
        faults: list[str] = []
        built = {name: self._upstream(name, entry, faults) for name, entry in entries.items()}
        if faults:
            raise BadConfiguration(faults)
        return built

    def replace(self, upstreams: dict[str, Upstream]) -> None:
        """Takes over a new set; what an upstream has taught us about itself stays."""
        for name, upstream in upstreams.items():
            old = self._upstreams.get(name)
            if old is not None:
                upstream.retries.calls = old.retries.calls
            if old is not None and old.entry == upstream.entry:
                upstream.takes_stream_options = old.takes_stream_options
        self._upstreams = upstreams

    def named(self, name: str) -> Upstream:
        """One upstream; policy has checked that it exists."""
        return self._upstreams[name]

    @property
    def current(self) -> Mapping[str, Upstream]:
        """The set in force. A reload puts another in its place: who holds this one keeps what it began with."""
        return self._upstreams

    def breaker(self, upstream: str, model: str, limits: CallLimits | None = None) -> Breaker:
        """The breaker of one target. limits: a rule's own waiting; what fails under it is left alone under it only."""
        key = (upstream, model, limits)
        breaker = self._breakers.get(key)
        if breaker is None:
            if len(self._breakers) >= MAX_TARGETS:
                self._breakers.clear()
            breaker = self._breakers[key] = Breaker(self.clock.monotonic)
        return breaker

    def states(self) -> dict[str, State]:
        """The worst breaker state of each upstream."""
        worst = dict.fromkeys(self._upstreams, State.CLOSED)
        for (name, _, _), breaker in self._breakers.items():
            if name in worst:
                worst[name] = max(worst[name], breaker.state)
        return worst

    def _upstream(self, name: str, entry: UpstreamEntry, faults: list[str]) -> Upstream:
        base = secret(entry.base_url, self._environment, faults, f"upstream {name!r}: base_url") or "http://unset"
        if not _is_url(base):
            faults.append(f"upstream {name!r}: base_url must be http(s)://host[:port][/path].")
            base = "http://unset"
        parts = urlsplit(base)
        origin = Origin(
            scheme=parts.scheme,
            host=parts.hostname or "",
            port=parts.port or PORTS[parts.scheme],
            prefix=parts.path.rstrip("/"),
            ca_file=entry.ca_file,
        )
        headers: list[tuple[bytes, bytes]] = []
        if entry.api_key is not None:
            key = secret(entry.api_key, self._environment, faults, f"upstream {name!r}: api_key")
            headers.append((b"authorization", b"Bearer " + (key or "").encode()))
        elif parts.username:
            user = f"{parts.username}:{parts.password or ''}".encode()
            headers.append((b"authorization", b"Basic " + base64.b64encode(user)))
        headers += [(key.lower().encode(), value.encode()) for key, value in entry.headers.items()]
        transport = self._transports[entry.transport]
        return Upstream(name, entry, origin, tuple(headers), transport, self.clock.monotonic)


def _is_url(text: str) -> bool:
    # The environment's say: models.yaml may name a variable, and what stands in that is checked only here.
    try:
        parts = urlsplit(text)
        return parts.scheme in PORTS and bool(parts.hostname) and text.isascii() and parts.port != 0
    except ValueError:
        return False
