"""The rehearsal of the Usage and Costs API counts what the bill counts."""

from typing import Any

import pytest

from gateway.offline.bill import Bill, Row
from gateway.offline.exchange import Refusal
from gateway.offline.organization import answer_organization

DAY = 86_400
START = 20_000 * DAY


class Wall:
    def __init__(self) -> None:
        self.now = float(START)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def bill() -> Bill:
    wall = Wall()
    made = Bill(wall=wall)
    for day, model, endpoint in (
        (0, "gpt-4o-mini", "/v1/chat/completions"),
        (0, "gpt-4o-mini", "/v1/responses"),
        (0, "text-embedding-3-small", "/v1/embeddings"),
        (2, "gpt-4.1-mini", "/v1/completions"),
    ):
        wall.now = START + day * DAY + 5
        made.add(Row(f"{day}", model, endpoint, 100, 10, stream=False, outcome="ok"))
    return made


def page(bill: Bill, path: str, **query: Any) -> dict[str, Any]:
    given = {"start_time": [str(START)], "end_time": [str(START + 3 * DAY)]} | query
    return answer_organization(bill, f"/v1/organization/{path}", given)


def test_a_day_is_a_bucket_and_a_model_a_result(bill: Bill) -> None:
    found = page(bill, "usage/completions", group_by=["model", "service_tier"])
    assert [len(bucket["results"]) for bucket in found["data"]] == [1, 0, 1]
    [result] = found["data"][0]["results"]
    assert (result["input_tokens"], result["output_tokens"], result["num_model_requests"]) == (200, 20, 2)
    assert (result["model"], result["service_tier"], result["api_key_id"]) == ("gpt-4o-mini", "default", None)
    [embedded] = page(bill, "usage/embeddings")["data"][0]["results"]
    assert (embedded["input_tokens"], embedded["model"]) == (100, None)


def test_pages_follow_each_other_to_the_end(bill: Bill) -> None:
    first = page(bill, "usage/completions", limit=["2"])
    assert (len(first["data"]), first["has_more"]) == (2, True)
    second = page(bill, "usage/completions", limit=["2"], page=[first["next_page"]])
    assert [bucket["start_time"] for bucket in second["data"]] == [START + 2 * DAY]
    assert (second["has_more"], second["next_page"]) == (False, None)


def test_costs_are_the_published_prices(bill: Bill) -> None:
    found = page(bill, "costs", group_by=["line_item"])["data"][0]["results"]
    costs = {one["line_item"]: one["amount"]["value"] for one in found}
    assert costs["gpt-4o-mini, input"] == pytest.approx(0.00003)
    assert costs["gpt-4o-mini, output"] == pytest.approx(0.000012)


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("usage/videos", {}, 404),
        ("usage/completions", {"bucket_width": ["1h"]}, 400),
        ("usage/completions", {"start_time": ["now"]}, 400),
        ("usage/completions", {"group_by": ["colour"]}, 400),
        ("usage/completions", {"page": ["x"]}, 400),
    ],
)
def test_what_the_api_refuses_is_refused(bill: Bill, path: str, query: dict[str, Any], status: int) -> None:
    with pytest.raises(Refusal) as caught:
        page(bill, path, **query)
    assert caught.value.status == status
