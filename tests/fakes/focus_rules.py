"""The rules of FOCUS 1.2 that a dataset of ours can break, written from the specification and not from our code."""

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation

MANDATORY = {
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ServiceCategory",
    "ServiceName",
}
# Of the mandatory ones these alone may be null.
MAY_BE_NULL = {"BillingAccountName", "ChargeClass", "ChargeDescription", "PricingQuantity", "PricingUnit"}
CONDITIONAL = {
    "ChargeFrequency",
    "ConsumedQuantity",
    "ConsumedUnit",
    "InvoiceId",
    "PricingCategory",
    "ServiceSubcategory",
    "SkuId",
    "SkuMeter",
    "SkuPriceDetails",
    "SkuPriceId",
    "SubAccountId",
    "SubAccountName",
    "SubAccountType",
    "Tags",
}
ALLOWED = {
    "ChargeCategory": {"Usage", "Purchase", "Tax", "Credit", "Adjustment"},
    "ChargeClass": {"", "Correction"},
    "ChargeFrequency": {"One-Time", "Recurring", "Usage-Based"},
    "PricingCategory": {"", "Standard", "Dynamic", "Committed", "Other"},
    "ServiceCategory": {"AI and Machine Learning", "Other"},
    "ServiceSubcategory": {"Generative AI"},
    "BillingCurrency": {"USD"},
}
COSTS = ("BilledCost", "ContractedCost", "EffectiveCost", "ListCost")
QUANTITIES = ("ConsumedQuantity", "PricingQuantity")
TIMES = ("BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd")
NOT_NULL_FOR_USAGE = (*QUANTITIES, "ConsumedUnit", "PricingUnit", "PricingCategory", "SkuId", "SkuPriceId")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")


def broken_rules(columns: Sequence[str], rows: Sequence[dict[str, str]]) -> Iterator[str]:
    """Every rule that is broken, in words. A null is an empty cell."""
    missing = MANDATORY - set(columns)
    if missing:
        yield f"mandatory columns are missing: {sorted(missing)}"
    for column in columns:
        if column not in MANDATORY | CONDITIONAL and not re.fullmatch(r"x_[A-Z][A-Za-z0-9]*", column):
            yield f"{column} is neither of the specification nor begins with x_"
    if len(set(columns)) != len(columns):
        yield "a column stands twice"
    for number, row in enumerate(rows):
        for rule in _of_row(row):
            yield f"row {number}: {rule}"
    parents: dict[str, str] = {}
    for row in rows:
        if row["SkuPriceId"] and parents.setdefault(row["SkuPriceId"], row["SkuId"]) != row["SkuId"]:
            yield f"SkuPriceId {row['SkuPriceId']} has two SkuIds"


def _of_row(row: dict[str, str]) -> Iterator[str]:
    for column in MANDATORY - MAY_BE_NULL:
        if not row[column]:
            yield f"{column} is null"
    for column, values in ALLOWED.items():
        if row[column] not in values:
            yield f"{column} is {row[column]!r}"
    for column in (*COSTS, *QUANTITIES):
        try:
            if row[column] and not Decimal(row[column]).is_finite():
                yield f"{column} is {row[column]!r}"
        except InvalidOperation:
            yield f"{column} is {row[column]!r}"
    yield from _of_times(row)
    is_usage, is_correction = row["ChargeCategory"] == "Usage", row["ChargeClass"] == "Correction"
    if is_usage and not is_correction:
        for column in NOT_NULL_FOR_USAGE:
            if not row[column]:
                yield f"{column} is null for usage"
        if row["ConsumedQuantity"] and Decimal(row["ConsumedQuantity"]) < 0:
            yield "ConsumedQuantity is negative"
    if not is_usage and (row["ConsumedQuantity"] or row["ConsumedUnit"]):
        yield "ConsumedQuantity or its unit stands beside what is no usage"
    for quantity, unit in (("PricingQuantity", "PricingUnit"), ("ConsumedQuantity", "ConsumedUnit")):
        if bool(row[quantity]) != bool(row[unit]):
            yield f"{quantity} without {unit}, or the other way round"


def _of_times(row: dict[str, str]) -> Iterator[str]:
    for column in TIMES:
        if not _TIME.fullmatch(row[column]):
            yield f"{column} is {row[column]!r}"
    if not row["BillingPeriodStart"] <= row["ChargePeriodStart"] < row["ChargePeriodEnd"] <= row["BillingPeriodEnd"]:
        yield "the charge's period is not within the billing period"
