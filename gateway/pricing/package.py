"""The maintained price package, genai-prices, as it was installed: it is never asked to download.

Its own look-up (`find_provider_model`) keeps every name it was ever asked for. Callers choose the names,
so that memory would grow without limit; here its public matchers are asked directly, and the table above
keeps a bounded number of answers.
"""

from datetime import UTC, date, datetime, time
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import genai_prices
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices

from gateway.pricing.model_ids import is_tuned
from gateway.pricing.rates import LongContext, Rates

SOURCE = f"genai-prices {genai_prices.__version__}"
# Where a bare name such as text-embedding-3-small is looked up when no provider claims it by its prefix.
DEFAULT_PROVIDER = "openai"
# Prices that differ by the hour (off-peak) are read at noon UTC, where the providers in question ask the
# full price.
HOUR = time(12, tzinfo=UTC)


# Meters that a usage does not show apart: without them a cost would come out wrong, so there is none.
BEYOND_TOKENS = ("requests_kcount", "output_reasoning_mtok", "output_citation_mtok")


def package_rates(model: str, day: date, provider: str | None) -> Rates | None:
    """The package's rates on that day, or None when it knows none. It knows standard rates only, of no other tier.

    provider: one of the package's ids; one that it does not know gives None, because the price of another
    company's server would be a guess. A tuned model is never given the price of its untuned base. A model
    that is also billed by other meters, such as the request, gives None: its tokens alone would come out wrong.
    """
    info = _find(model, provider)
    if info is None or (is_tuned(model) and not is_tuned(info.id)):
        return None
    price = info.get_prices(datetime.combine(day, HOUR))
    if any(getattr(price, name, None) is not None for name in BEYOND_TOKENS):
        return None
    try:
        return _rates(price)
    except (ArithmeticError, ValueError):
        return None  # A faulty entry of the package prices nothing; the call is counted as unpriced.


def _find(model: str, provider: str | None) -> ModelInfo | None:
    name = model.lower()
    providers = get_snapshot().providers
    if provider is None:
        owner = _claimed_by(name, providers) or _named(DEFAULT_PROVIDER, providers)
    else:
        owner = _named(provider.lower(), providers)
    return owner.find_model(name, all_providers=providers) if owner else None


def _claimed_by(name: str, providers: list[Provider]) -> Provider | None:
    return next((one for one in providers if one.model_match and one.model_match.is_match(name)), None)


def _named(wanted: str, providers: list[Provider]) -> Provider | None:
    return next((one for one in providers if one.id == wanted), None)


def _rates(price: ModelPrice) -> Rates | None:
    fields: dict[str, Any] = {
        "input": price.input_mtok,
        "cached": price.cache_read_mtok,
        "cache_write": price.cache_write_mtok,
        "output": price.output_mtok,
    }
    sensed: dict[str, Any] = {
        "audio_input": getattr(price, "input_audio_mtok", None),
        "audio_output": getattr(price, "output_audio_mtok", None),
        "image_input": getattr(price, "input_image_mtok", None),
        "image_output": getattr(price, "output_image_mtok", None),
    }
    if fields["input"] is None and fields["output"] is None:
        return None
    starts = sorted(
        {tier.start for given in fields.values() if isinstance(given, TieredPrices) for tier in given.tiers}
    )
    plain: dict[str, Any] = {name: _pico(given, 0) for name, given in (fields | sensed).items()}
    return Rates(
        **plain,
        source=SOURCE,
        long_context=tuple(
            LongContext(over=start, **{name: _pico(given, start + 1) for name, given in fields.items()})
            for start in starts
        ),
    )


def _pico(given: Decimal | TieredPrices | None, input_tokens: int) -> int | None:
    """USD per million as pico-dollars per token, in the tier of a request with that many input tokens."""
    if isinstance(given, TieredPrices):
        reached = [tier.price for tier in given.tiers if input_tokens > tier.start]
        given = reached[-1] if reached else given.base
    if given is None:
        return None
    return int((given * 1_000_000).to_integral_value(rounding=ROUND_HALF_UP))
