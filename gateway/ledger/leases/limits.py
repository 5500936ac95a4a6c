"""Requests, tokens and calls at once: how fast an organisation, a team or a key may go."""

import math
from collections.abc import Iterable, Iterator

from gateway.core.call import Principal
from gateway.core.errors import RateLimited
from gateway.ledger.leases.rules import LimitRule

MINUTE = 60.0


class Bucket:
    """A part of a limit per minute, refilled steadily. `left` may be below 0: what was used is used.

    A call that is larger than the part is let in when that is full, and paid off by those who come after: however
    many replicas share a limit, what the whole allows is never refused for ever.

    used_at: when somebody took of it last, monotonic seconds.
    """

    __slots__ = ("at", "left", "size", "used_at")

    def __init__(self, size: float, now: float) -> None:
        self.size = size
        self.left = size
        self.at = now
        self.used_at = now

    def has(self, amount: float, now: float) -> bool:
        """Whether this much can be taken now."""
        if now > self.at:
            # What was borrowed may stand above the part; it is not refilled there.
            refilled = self.left + (now - self.at) * self.size / MINUTE
            self.left = max(self.left, min(self.size, refilled))
            self.at = now
        return self.left >= min(amount, self.size)

    def wait_seconds(self, amount: float) -> float:
        """How long until this much can be taken."""
        return (min(amount, self.size) - self.left) * MINUTE / self.size


class Gate:
    """One limit as this process keeps it: its own part, so that all replicas together stay within the whole."""

    __slots__ = ("concurrency", "in_flight", "requests", "rule", "tokens")

    def __init__(self, rule: LimitRule) -> None:
        self.rule = rule
        self.in_flight = 0
        self.requests: Bucket | None = None
        self.tokens: Bucket | None = None
        self.concurrency: int | None = None

    def share(self, rank: int, replicas: int, now: float) -> None:
        """Takes over this process's part: `rank` of `replicas`, from 0. What is used stays used."""
        rule = self.rule
        self.requests = _resized(self.requests, rule.requests_per_minute, replicas, now)
        self.tokens = _resized(self.tokens, rule.tokens_per_minute, replicas, now)
        whole = rule.concurrency
        self.concurrency = None if whole is None else whole // replicas + (rank < whole % replicas)


def _resized(bucket: Bucket | None, whole: int | None, replicas: int, now: float) -> Bucket | None:
    if whole is None:
        return None
    size = whole / replicas
    if bucket is None:
        return Bucket(size, now)
    bucket.left = min(bucket.left + min(0.0, size - bucket.size), size)
    bucket.size = size
    return bucket


class Limits:
    """All limits that this process knows, and its place among the replicas."""

    def __init__(self) -> None:
        self._gates: dict[tuple[str, str], Gate] = {}
        self._of: dict[tuple[str, str, str], tuple[Gate, ...]] = {}
        self._rank, self._replicas = 0, 1
        self.is_empty = True

    def define(self, rules: Iterable[LimitRule], now: float) -> None:
        """Takes over a new set of limits. now: monotonic seconds, as everywhere here."""
        gates: dict[tuple[str, str], Gate] = {}
        for rule in rules:
            gate = self._gates.get((rule.scope, rule.name)) or Gate(rule)
            gate.rule = rule
            gate.share(self._rank, self._replicas, now)
            gates[rule.scope, rule.name] = gate
        self._gates = gates
        self.is_empty = not gates
        self._of.clear()

    def place(self, rank: int, replicas: int, now: float) -> None:
        """Says how many replicas there are, and which of them this is."""
        if (rank, replicas) == (self._rank, self._replicas):
            return
        self._rank, self._replicas = rank, replicas
        for gate in self._gates.values():
            gate.share(rank, replicas, now)

    def gates(self, principal: Principal) -> tuple[Gate, ...]:
        """The limits that a call of this principal must pass."""
        who = (principal.organisation, principal.team, principal.key_id)
        found = self._of.get(who)
        if found is None:
            named = zip(("organisation", "team", "key"), who, strict=True)
            found = self._of[who] = tuple(self._gates[pair] for pair in named if pair in self._gates)
        return found

    def buckets(self) -> Iterator[tuple[str, Bucket, int]]:
        """Every limit per minute: its name, this process's part, and the whole."""
        for (scope, name), gate in self._gates.items():
            rule = gate.rule
            if gate.requests is not None and rule.requests_per_minute is not None:
                yield f"{scope}:{name}:requests", gate.requests, rule.requests_per_minute
            if gate.tokens is not None and rule.tokens_per_minute is not None:
                yield f"{scope}:{name}:tokens", gate.tokens, rule.tokens_per_minute

    def enter(self, gates: tuple[Gate, ...], tokens: int, now: float) -> None:
        """Takes a call's place in all of them, or in none. Raises RateLimited (429)."""
        for gate in gates:
            if gate.concurrency is not None and gate.in_flight >= gate.concurrency:
                raise self._told(gate, "calls at once", gate.rule.concurrency or 0, 0, 1.0)
            if gate.requests is not None and not gate.requests.has(1, now):
                wait = gate.requests.wait_seconds(1)
                raise self._told(gate, "requests", gate.rule.requests_per_minute or 0, 0, wait)
            whole = gate.rule.tokens_per_minute or 0
            if gate.tokens is not None and (tokens > whole or not gate.tokens.has(tokens, now)):
                wait = math.inf if tokens > whole else gate.tokens.wait_seconds(tokens)
                left = max(0, int(gate.tokens.left * self._replicas))
                raise self._told(gate, "tokens", gate.rule.tokens_per_minute or 0, left, wait)
        for gate in gates:
            gate.in_flight += 1
            if gate.requests is not None:
                gate.requests.left -= 1
                gate.requests.used_at = now
            if gate.tokens is not None:
                gate.tokens.left -= tokens
                gate.tokens.used_at = now

    def leave(self, gates: tuple[Gate, ...], taken: int, used: int) -> None:
        """Gives a call's place back, and what of its tokens it did not use; or takes what it used beyond them."""
        for gate in gates:
            gate.in_flight -= 1
            if gate.tokens is not None:
                gate.tokens.left += taken - used

    def _told(self, gate: Gate, what: str, limit: int, left: int, wait: float) -> RateLimited:
        rule = gate.rule
        of = f"{rule.scope} {rule.name!r}"
        unit = f"{limit} {what}" if what == "calls at once" else f"{limit:,} {what} a minute"
        if math.isinf(wait):
            fault = RateLimited(
                f"This call needs more tokens than {of} may use at all ({unit}).",
                retry_after_seconds=int(MINUTE),
            )
            fault.should_retry = False
            return fault
        kind = what.encode() if what in {"requests", "tokens"} else b"concurrency"
        headers = (
            (b"x-ratelimit-limit-" + kind, b"%d" % limit),
            (b"x-ratelimit-remaining-" + kind, b"%d" % left),
            (b"x-ratelimit-reset-" + kind, b"%.3fs" % wait),
        )
        again = max(1, math.ceil(wait))
        return RateLimited(f"Rate limit of {of} reached: {unit}.", headers, retry_after_seconds=again)
