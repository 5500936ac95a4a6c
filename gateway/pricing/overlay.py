"""policies/prices.yaml: rates that a person read somewhere, with the days on which they hold."""

from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from itertools import combinations
from typing import Annotated, Any, Self

import msgspec
from pydantic import Field, field_validator, model_validator

from gateway.core.document import Written
from gateway.core.money import nano_from_usd
from gateway.pricing.rates import LongContext, Rates

# Six decimals of a dollar per million tokens are one pico-dollar a token: the smallest rate that is kept.
Usd = Annotated[Decimal, Field(ge=0, le=1_000_000, decimal_places=6, allow_inf_nan=False)]
ModelId = Annotated[str, Field(min_length=1, max_length=300)]
# Rates that a long context changes, and all that a tier may have.
PLAIN = ("input", "cached", "cache_write", "output")
RATES = (*PLAIN, "audio_input", "audio_output", "image_input", "image_output")
STANDARD = frozenset({"default", "standard", "auto"})


class PriceOver(Written):
    """What a request costs whose input is longer than `over` tokens: every token of it at these rates."""

    over: int = Field(gt=0)
    input: Usd | None = None
    cached: Usd | None = None
    cache_write: Usd | None = None
    output: Usd | None = None

    def long_context(self) -> LongContext:
        """The step as a value."""
        return LongContext(
            over=self.over,
            input=_pico(self.input),
            cached=_pico(self.cached),
            cache_write=_pico(self.cache_write),
            output=_pico(self.output),
        )


class TierPrice(Written):
    """What one service tier costs: its own rates, or the entry's rates times `multiplier` (batch: 0.5)."""

    multiplier: Decimal | None = Field(default=None, gt=0, le=100, decimal_places=6, allow_inf_nan=False)
    input: Usd | None = None
    cached: Usd | None = None
    cache_write: Usd | None = None
    output: Usd | None = None
    audio_input: Usd | None = None
    audio_output: Usd | None = None
    image_input: Usd | None = None
    image_output: Usd | None = None
    long_context: tuple[PriceOver, ...] = ()

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = [name for name in (*RATES, "long_context") if getattr(self, name) not in (None, ())]
        if bool(given) == (self.multiplier is not None):
            raise ValueError("a tier has either its own rates or a multiplier")
        return self

    def rates(self, standard: Rates) -> Rates:
        """The tier's rates as a value; `standard` are the entry's own."""
        if self.multiplier is None:
            return Rates(
                **_picos(self),
                source=standard.source,
                long_context=_steps(self.long_context),
            )
        times = self.multiplier
        return Rates(
            **_multiplied(standard, RATES, times),
            source=standard.source,
            long_context=tuple(
                LongContext(step.over, **_multiplied(step, PLAIN, times)) for step in standard.long_context
            ),
        )


class Price(Written):
    """One entry: the rates of some models, in USD per million tokens, and who said so when.

    models: ids as they are sent upstream. A tuned model may be named whole, or by any number of its leading
    parts (`ft:gpt-4o-mini-2024-07-18`). provider: only at this one, before an entry for any. from, to: first
    and last UTC day, both included; without them the entry holds always. training_per_hour: USD. tiers: by the
    name that replies give as `service_tier`; a tier that is not named here has no price.
    """

    models: tuple[ModelId, ...] = Field(min_length=1)
    provider: str | None = Field(default=None, min_length=1)
    first_day: date | None = Field(default=None, alias="from")
    last_day: date | None = Field(default=None, alias="to")
    input: Usd | None = None
    cached: Usd | None = None
    cache_write: Usd | None = None
    output: Usd | None = None
    audio_input: Usd | None = None
    audio_output: Usd | None = None
    image_input: Usd | None = None
    image_output: Usd | None = None
    training: Usd | None = None
    training_per_hour: Usd | None = None
    long_context: tuple[PriceOver, ...] = ()
    tiers: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")], TierPrice] = Field(default={})
    source: str = Field(min_length=1)
    read_on: date

    @model_validator(mode="after")
    def _has_sense(self) -> Self:
        if self.first_day and self.last_day and self.last_day < self.first_day:
            raise ValueError(f"it holds to {self.last_day}, before its first day {self.first_day}")
        given = [getattr(self, name) for name in (*RATES, "training", "training_per_hour")]
        if all(rate is None for rate in given):
            raise ValueError(f"the entry for {self.models[0]!r} names no rate")
        if standard := STANDARD & self.tiers.keys():
            raise ValueError(f"{min(standard)!r} is the standard tier, whose rates stand in the entry itself")
        return self

    def holds_on(self, day: date) -> bool:
        """True when `day` lies within from and to."""
        return (self.first_day or date.min) <= day <= (self.last_day or date.max)

    def rates(self, source: str) -> Rates:
        """The rates as a value, `source` being the file's name."""
        hour = self.training_per_hour
        standard = Rates(
            **_picos(self),
            training=_pico(self.training),
            source=source,
            long_context=_steps(self.long_context),
            training_hour_nano_usd=None if hour is None else nano_from_usd(hour),
        )
        tiers = tuple((name, tier.rates(standard)) for name, tier in self.tiers.items())
        return msgspec.structs.replace(standard, tiers=tiers) if tiers else standard


class PriceOverlay(Written):
    """The whole file. Two entries for one model, provider and day are a fault: either would be a guess."""

    prices: tuple[Price, ...] = ()

    @field_validator("prices")
    @classmethod
    def _no_two_on_one_day(cls, prices: tuple[Price, ...]) -> tuple[Price, ...]:
        entries: dict[tuple[str, str | None], list[Price]] = {}
        for price in prices:
            for model in price.models:
                entries.setdefault((model, price.provider), []).append(price)
        for (model, _), found in entries.items():
            for one, two in combinations(found, 2):
                if two.holds_on(one.first_day or date.min) or one.holds_on(two.first_day or date.min):
                    raise ValueError(f"two entries price {model!r} on the same day; their from and to must not meet")
        return prices


def _steps(written: tuple[PriceOver, ...]) -> tuple[LongContext, ...]:
    return tuple(step.long_context() for step in sorted(written, key=lambda step: step.over))


def _picos(written: TierPrice | Price) -> dict[str, Any]:
    return {name: _pico(getattr(written, name)) for name in RATES}


def _multiplied(rates: Rates | LongContext, names: tuple[str, ...], times: Decimal) -> dict[str, Any]:
    found = {name: getattr(rates, name) for name in names}
    return {
        name: None if pico is None else int((pico * times).to_integral_value(rounding=ROUND_HALF_UP))
        for name, pico in found.items()
    }


def _pico(usd_per_million: Decimal | None) -> int | None:
    return None if usd_per_million is None else int(usd_per_million * 1_000_000)
