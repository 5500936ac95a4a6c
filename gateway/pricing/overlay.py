"""policies/prices.yaml: rates that a person read somewhere, with the days on which they hold."""

from datetime import date
from decimal import Decimal
from itertools import combinations
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from gateway.core.document import Written
from gateway.core.money import nano_from_usd
from gateway.pricing.rates import LongContext, Rates

# Six decimals of a dollar per million tokens are one pico-dollar a token: the smallest rate that is kept.
Usd = Annotated[Decimal, Field(ge=0, le=1_000_000, decimal_places=6, allow_inf_nan=False)]
ModelId = Annotated[str, Field(min_length=1, max_length=300)]


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


class Price(Written):
    """One entry: the rates of some models, in USD per million tokens, and who said so when.

    models: ids as they are sent upstream. A tuned model may be named whole, or by any number of its leading
    parts (`ft:gpt-4o-mini-2024-07-18`). provider: only at this one, before an entry for any. from, to: first
    and last UTC day, both included; without them the entry holds always. training_per_hour: USD.
    """

    models: tuple[ModelId, ...] = Field(min_length=1)
    provider: str | None = Field(default=None, min_length=1)
    first_day: date | None = Field(default=None, alias="from")
    last_day: date | None = Field(default=None, alias="to")
    input: Usd | None = None
    cached: Usd | None = None
    cache_write: Usd | None = None
    output: Usd | None = None
    training: Usd | None = None
    training_per_hour: Usd | None = None
    long_context: tuple[PriceOver, ...] = ()
    source: str = Field(min_length=1)
    read_on: date

    @model_validator(mode="after")
    def _has_sense(self) -> Self:
        if self.first_day and self.last_day and self.last_day < self.first_day:
            raise ValueError(f"it holds to {self.last_day}, before its first day {self.first_day}")
        given = (
            self.input,
            self.cached,
            self.cache_write,
            self.output,
            self.training,
            self.training_per_hour,
        )
        if all(rate is None for rate in given):
            raise ValueError(f"the entry for {self.models[0]!r} names no rate")
        return self

    def holds_on(self, day: date) -> bool:
        """True when `day` lies within from and to."""
        return (self.first_day or date.min) <= day <= (self.last_day or date.max)

    def rates(self, source: str) -> Rates:
        """The rates as a value, `source` being the file's name."""
        hour = self.training_per_hour
        return Rates(
            input=_pico(self.input),
            cached=_pico(self.cached),
            cache_write=_pico(self.cache_write),
            output=_pico(self.output),
            training=_pico(self.training),
            source=source,
            long_context=tuple(step.long_context() for step in sorted(self.long_context, key=lambda step: step.over)),
            training_hour_nano_usd=None if hour is None else nano_from_usd(hour),
        )


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


def _pico(usd_per_million: Decimal | None) -> int | None:
    return None if usd_per_million is None else int(usd_per_million * 1_000_000)
