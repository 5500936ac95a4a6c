"""What the bill says by UTC day, in the shape of OpenAI's Usage and Costs API for organisations."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.offline.bill import DAY_SECONDS, Bill
from gateway.offline.exchange import Refusal

USAGE = "/v1/organization/usage/"
COSTS = "/v1/organization/costs"
PAGE = "page_"
# Nano-dollars per token, in and out, from the price pages; by the beginning of a tuned model's id.
PRICES = {
    "gpt-4.1": (2_000, 8_000),
    "gpt-4.1-mini": (400, 1_600),
    "gpt-4.1-nano": (100, 400),
    "gpt-4o": (2_500, 10_000),
    "gpt-4o-mini": (150, 600),
    "gpt-4o-mini-2024-07-18": (150, 600),
    "text-embedding-3-large": (130, 0),
    "text-embedding-3-small": (20, 0),
    "ft:gpt-4.1-mini-2025-04-14": (800, 3_200),
    "ft:gpt-4o-mini-2024-07-18": (300, 1_200),
}
GROUPS = {
    "completions": ("project_id", "user_id", "api_key_id", "model", "batch", "service_tier"),
    "embeddings": ("project_id", "user_id", "api_key_id", "model"),
    "costs": ("project_id", "line_item"),
}
MOST_BUCKETS = {"completions": 31, "embeddings": 31, "costs": 180}
USUAL_BUCKETS = 7


def answer_organization(bill: Bill, path: str, query: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """One page of buckets of a day each. Raises Refusal (400, 404) in the words of the API."""
    kind = "costs" if path == COSTS else path.removeprefix(USAGE)
    if kind not in GROUPS:
        raise Refusal(404, f"Unknown request URL: GET {path}.", code="unknown_url")
    if query.get("bucket_width", ["1d"])[-1] != "1d":
        raise Refusal(400, "This rehearsal has buckets of 1d only.", param="bucket_width")
    groups = (*query.get("group_by", ()), *query.get("group_by[]", ()))
    wrong = next((name for name in groups if name not in GROUPS[kind]), None)
    if wrong is not None:
        raise Refusal(400, f"Invalid value: {wrong!r}. Supported: {', '.join(GROUPS[kind])}.", param="group_by")
    start = _number(query, "start_time", None)
    end = _number(query, "end_time", int(time.time()) + 1)
    limit = min(_number(query, "limit", USUAL_BUCKETS), MOST_BUCKETS[kind])
    page = query.get("page", [f"{PAGE}{start}"])[-1].removeprefix(PAGE)
    if not page.isdecimal() or limit < 1:
        raise Refusal(400, "page and limit must be as this API gave them.", param="page")
    first = int(page) // DAY_SECONDS * DAY_SECONDS
    days = range(first, end, DAY_SECONDS)
    data = [
        {
            "object": "bucket",
            "start_time": day,
            "end_time": day + DAY_SECONDS,
            "results": _costs(bill, day, groups) if kind == "costs" else _usage(bill, day, kind, groups),
        }
        for day in days[:limit]
    ]
    has_more = len(days) > limit
    following = f"{PAGE}{days[limit]}" if has_more else None
    return {"object": "page", "data": data, "has_more": has_more, "next_page": following}


def _number(query: Mapping[str, Sequence[str]], name: str, otherwise: int | None) -> int:
    given = query.get(name, [""])[-1] or ("" if otherwise is None else str(otherwise))
    if not given.isdecimal():
        raise Refusal(400, f"{name} is {given!r}; it must be a whole number.", param=name)
    return int(given)


def _usage(bill: Bill, day: int, kind: str, groups: Sequence[str]) -> list[dict[str, Any]]:
    found: dict[str | None, list[int]] = {}
    for (at, endpoint, model), counts in bill.by_day().items():
        if at == day and ("embeddings" in endpoint) == (kind == "embeddings"):
            sums = found.setdefault(model if "model" in groups else None, [0, 0, 0])
            for place, count in enumerate(counts):
                sums[place] += count
    results = []
    for name, (requests, tokens_in, tokens_out) in sorted(found.items(), key=str):
        result: dict[str, Any] = dict.fromkeys(GROUPS[kind])
        result |= {"object": f"organization.usage.{kind}.result", "input_tokens": tokens_in, "model": name}
        if kind == "completions":
            tier = "default" if "service_tier" in groups else None
            result |= {"output_tokens": tokens_out, "input_cached_tokens": 0, "service_tier": tier}
            result["batch"] = False if "batch" in groups else None
        results.append(result | {"num_model_requests": requests})
    return results


def _costs(bill: Bill, day: int, groups: Sequence[str]) -> list[dict[str, Any]]:
    found: dict[str | None, int] = {}
    for (at, _, model), (_, tokens_in, tokens_out) in bill.by_day().items():
        price = PRICES.get(model) or PRICES.get(":".join(model.split(":")[:2]))
        if at != day or price is None:
            continue
        for way, tokens, rate in (("input", tokens_in, price[0]), ("output", tokens_out, price[1])):
            name = f"{model}, {way}" if "line_item" in groups else None
            found[name] = found.get(name, 0) + tokens * rate
    return [
        {
            "object": "organization.costs.result",
            "amount": {"value": nano / 1_000_000_000, "currency": "usd"},
            "line_item": name,
            "project_id": None,
        }
        for name, nano in sorted(found.items(), key=str)
    ]
