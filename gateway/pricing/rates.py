"""What one model's tokens cost, and what an attempt's tokens come to."""

from gateway.core.event import CostStatus
from gateway.core.usage import Usage
from gateway.core.values import Value

PICO_PER_NANO = 1_000


class LongContext(Value, frozen=True):
    """The rates of a whole request whose input is longer than `over` tokens (the providers' cliff)."""

    over: int
    input: int | None = None
    cached: int | None = None
    cache_write: int | None = None
    output: int | None = None


class Rates(Value, frozen=True):
    """What one model costs on one day, in pico-dollars per token: USD per million tokens times 1,000,000.

    None is "not known", never "free"; free is 0. source: where the figures stand. long_context: ascending
    by `over`. training_hour_nano_usd: for training billed by the hour (nano-dollars per hour). tiers: rates of
    service tiers (`flex`, `priority`, `batch`) by name; a tier that is not among them has no price.
    Raises ValueError for a negative rate.
    """

    input: int | None = None
    cached: int | None = None
    cache_write: int | None = None
    output: int | None = None
    training: int | None = None
    source: str = ""
    long_context: tuple[LongContext, ...] = ()
    training_hour_nano_usd: int | None = None
    audio_input: int | None = None
    audio_output: int | None = None
    image_input: int | None = None
    image_output: int | None = None
    tiers: tuple[tuple[str, "Rates"], ...] = ()

    def __post_init__(self) -> None:
        levels: tuple[Rates | LongContext, ...] = (self, *self.long_context)
        given = [rate for level in levels for rate in (level.input, level.cached, level.cache_write, level.output)]
        sensed = (self.audio_input, self.audio_output, self.image_input, self.image_output)
        for rate in (*given, *sensed, self.training, self.training_hour_nano_usd):
            if rate is not None and rate < 0:
                raise ValueError(f"a price is {rate} pico-dollars per token; it must be 0 or more")

    def at_tier(self, tier: str) -> "Rates | None":
        """The rates of a service tier; None for one whose rates are not known. '' is the standard one."""
        return next((rates for name, rates in self.tiers if name == tier), None) if tier else self


def cost_by_kind(rates: Rates, usage: Usage) -> tuple[tuple[str, int], ...] | None:
    """Nano-dollars per disjoint kind (input, cached, output, reasoning), each rounded half up.

    The total is their sum: nothing is rounded a second time. Cached tokens go at `cached`, or at `input`
    when no cached rate is known. Cache writes are input tokens that were not cached, and go at
    `cache_write` when that is known. Reasoning goes at the output rate. Audio and images are parts of the input
    and of the output, at rates of their own; what is both cached and audio goes at the cached rate alone.
    None when a rate is missing for tokens that were used, also of the tier they were served at, or when the counts
    contradict each other (more cached than input tokens): a cost made from these would be a guess. A kind without
    tokens needs no rate.
    """
    written, thought = usage.cache_write_tokens, usage.reasoning_tokens
    plain = usage.input_tokens - usage.cached_tokens - written
    spoken = usage.output_tokens - thought
    at = rates.at_tier(usage.service_tier) if usage.service_tier else rates
    if at is None or min(plain, written, usage.cached_tokens, spoken, thought) < 0:
        return None
    level = _level(at, usage.input_tokens) if at.long_context else at
    parts_in = [(written, level.input if level.cache_write is None else level.cache_write)]
    parts_out: list[tuple[int, int | None]] = []
    if usage.audio_input_tokens or usage.image_input_tokens:
        heard = min(usage.audio_input_tokens, plain)
        seen = min(usage.image_input_tokens, plain - heard)
        plain -= heard + seen
        # A model that reads images counts them as text, at one rate; audio is many times dearer.
        parts_in += [(heard, at.audio_input), (seen, level.input if at.image_input is None else at.image_input)]
    if usage.audio_output_tokens or usage.image_output_tokens:
        voiced = min(usage.audio_output_tokens, spoken)
        drawn = min(usage.image_output_tokens, spoken - voiced)
        spoken -= voiced + drawn
        parts_out = [(voiced, at.audio_output), (drawn, at.image_output)]
    costs: list[tuple[str, int]] = []
    for kind, parts in (
        ("input", [(plain, level.input), *parts_in]),
        ("cached", [(usage.cached_tokens, level.input if level.cached is None else level.cached)]),
        ("output", [(spoken, level.output), *parts_out]),
        ("reasoning", [(thought, level.output)]),
    ):
        pico = 0
        for tokens, rate in parts:
            if tokens and rate is None:
                return None
            pico += tokens * (rate or 0)
        costs.append((kind, nano_from_pico(pico) if pico else 0))
    return tuple(costs)


def priced(rates: Rates | None, usage: Usage | None) -> tuple[tuple[tuple[str, int], ...], int | None, CostStatus]:
    """Cost by kind, their sum in nano-dollars, and how sure that is. No usage costs nothing; no price is None."""
    if usage is None:
        return (), 0, "free"
    kinds = cost_by_kind(rates, usage) if rates is not None else None
    if kinds is None:
        return (), None, "unpriced"
    status: CostStatus = "priced" if usage.source == "provider" else "estimated"
    return kinds, sum(nano for _, nano in kinds), status


def with_retrieval(
    kinds: tuple[tuple[str, int], ...], context_tokens: int, usage: Usage | None
) -> tuple[tuple[tuple[str, int], ...], int]:
    """The costs with the injected sources' share of `input` as a kind of its own, and how many tokens that is.

    context_tokens: as counted here; more than the provider counts as uncached input they are not taken to be.
    """
    plain = 0 if usage is None else max(0, usage.input_tokens - usage.cached_tokens)
    tokens = min(context_tokens, plain)
    costs = dict(kinds)
    if not tokens or "input" not in costs:
        return kinds, tokens
    share = costs["input"] * tokens // plain
    costs["input"] -= share
    return (*costs.items(), ("retrieval", share)), tokens


def training_cost(rates: Rates, tokens: int) -> int | None:
    """Nano-dollars for `tokens` trained tokens (epochs counted in), or None when the rate is not known."""
    cost = _pico(tokens, rates.training) if tokens >= 0 else None
    return None if cost is None else nano_from_pico(cost)


def nano_from_pico(pico: int) -> int:
    """Pico-dollars (0 or more) as nano-dollars, rounded half up."""
    return (pico + PICO_PER_NANO // 2) // PICO_PER_NANO


def _level(rates: Rates, input_tokens: int) -> Rates | LongContext:
    level: Rates | LongContext = rates
    for step in rates.long_context:
        if input_tokens > step.over:
            level = step
    return level


def _pico(tokens: int, rate: int | None) -> int | None:
    if tokens == 0:
        return 0
    return None if rate is None else tokens * rate
