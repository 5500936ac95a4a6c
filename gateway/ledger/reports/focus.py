"""The books as a FOCUS 1.2 dataset: a row for each meter (input, cached, output, retrieval, training) and day.

FOCUS is the FinOps Open Cost and Usage Specification. Of its columns all mandatory ones are here, and those
conditional ones that hold of us. Unit prices are not: a row sums calls whose prices may differ (long contexts, a new
price in the middle of a span), and the specification wants price times quantity to be the cost.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from gateway.core.money import usd_text

OWN_NAME = "Switchyard"
TOKENS = "Tokens"
REQUESTS = "Requests"
COLUMNS = (
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
    "SkuId",
    "SkuMeter",
    "SkuPriceId",
    "SubAccountId",
    "SubAccountName",
    "x_Collections",
    "x_Endpoint",
    "x_EstimatedAttempts",
    "x_KeyId",
    "x_Line",
    "x_Model",
    "x_Path",
    "x_Rule",
    "x_ServiceTier",
    "x_UnpricedAttempts",
)
METER_NAMES = {
    "input": "Input Tokens",
    "cached": "Cached Input Tokens",
    "output": "Output Tokens",
    "retrieval": "Retrieval Tokens",
    "training": "Training Tokens",
    "other": "Requests",
}
# Rows of one meter, by their endpoint.
WHOLE_METERS = {"retrieval": "retrieval", "ingest": "retrieval", "rerank": "retrieval", "training": "training"}


def focus_rows(rolled: Mapping[str, Any], today: date) -> Iterator[dict[str, str | None]]:
    """The rows of one row of sums, by column; None is the specification's null.

    Their costs add up to the row's cost with its corrections, to the nano-dollar. Cost columns may not be null: what
    has no price counts nothing there, and `x_UnpricedAttempts` says how many attempts that is, on one row of them.
    today: a correction of a billing period that has ended is of the class Correction.
    """
    place = _place(rolled)
    once = {
        "x_UnpricedAttempts": str(rolled["unpriced"] - rolled["priced_later"]),
        "x_EstimatedAttempts": str(rolled["estimated"]),
    }
    for meter, quantity, nano in _meters(rolled):
        unit = REQUESTS if meter == "other" else TOKENS
        yield {
            **place,
            **_costs(nano),
            **once,
            "ChargeCategory": "Usage",
            "ChargeClass": None,
            "ChargeDescription": f"{METER_NAMES[meter]} of {rolled['model']}",
            "ConsumedQuantity": str(quantity),
            "ConsumedUnit": unit,
            "PricingCategory": "Standard",
            "PricingQuantity": str(quantity),
            "PricingUnit": unit,
            "SkuMeter": METER_NAMES[meter],
            "SkuPriceId": "/".join((rolled["model"], meter, rolled["service_tier"] or "standard")),
        }
        once = dict.fromkeys(once, "0")
    if rolled["adjusted_nano_usd"]:
        is_over = _month_after(date.fromisoformat(rolled["day"])) <= today
        yield {
            **place,
            **_costs(rolled["adjusted_nano_usd"]),
            **dict.fromkeys(once, "0"),
            "ChargeCategory": "Adjustment",
            "ChargeClass": "Correction" if is_over else None,
            "ChargeDescription": f"Corrections of {rolled['model']}",
            "ChargeFrequency": "One-Time",
        }


def _meters(rolled: Mapping[str, Any]) -> list[tuple[str, int, int]]:
    """Meter, quantity, nano-dollars. Those with neither are left out, but for one that tells what has no price."""
    cost = rolled["cost_nano_usd"]
    if rolled["endpoint"] in WHOLE_METERS:
        found = [(WHOLE_METERS[rolled["endpoint"]], rolled["input_tokens"] + rolled["output_tokens"], cost)]
    else:
        known = [rolled[f"{meter}_nano_usd"] for meter in ("input", "cached", "output")]
        context = rolled["context_tokens"]
        plain = rolled["input_tokens"] - rolled["cached_tokens"] - context
        tokens = (plain, rolled["cached_tokens"], rolled["output_tokens"])
        found = list(zip(("input", "cached", "output"), tokens, known, strict=True))
        if context:
            # Of calls on the RAG path nothing else is outside the three.
            found.append(("retrieval", context, cost - sum(known)))
        elif cost != sum(known):
            found.append(("other", rolled["attempts"], cost - sum(known)))
    metered = [one for one in found if one[1] or one[2]]
    hidden = rolled["unpriced"] - rolled["priced_later"] or rolled["estimated"]
    return metered or ([("other", rolled["attempts"], 0)] if hidden else [])


def _place(rolled: Mapping[str, Any]) -> dict[str, str | None]:
    """What all rows of one row of sums have."""
    day = date.fromisoformat(rolled["day"])
    provider = rolled["upstream"] or OWN_NAME
    account = rolled["organisation"] or OWN_NAME
    empty: dict[str, str | None] = dict.fromkeys(COLUMNS)
    return empty | {
        "BillingAccountId": account,
        "BillingAccountName": account,
        "BillingCurrency": "USD",
        "BillingPeriodStart": _moment(day.replace(day=1)),
        "BillingPeriodEnd": _moment(_month_after(day)),
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": _moment(day),
        "ChargePeriodEnd": _moment(day + timedelta(days=1)),
        "InvoiceIssuerName": provider,
        "ProviderName": provider,
        "PublisherName": provider,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": "Model Inference" if rolled["endpoint"] != "training" else "Model Training",
        "ServiceSubcategory": "Generative AI",
        "SkuId": rolled["model"] or None,
        "SubAccountId": rolled["team"],
        "SubAccountName": rolled["team"],
        "x_Collections": rolled["collections"] or None,
        "x_Endpoint": rolled["endpoint"],
        "x_KeyId": rolled["key_id"] or None,
        "x_Line": rolled["line"] or None,
        "x_Model": rolled["model"] or None,
        "x_Path": rolled["path"],
        "x_Rule": rolled["rule"] or None,
        "x_ServiceTier": rolled["service_tier"] or None,
    }


def _costs(nano: int) -> dict[str, str | None]:
    # Of negotiated or committed prices the books know nothing: what was paid is the list price.
    return dict.fromkeys(("BilledCost", "ContractedCost", "EffectiveCost", "ListCost"), usd_text(nano))


def _month_after(day: date) -> date:
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1)


def _moment(day: date) -> str:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
