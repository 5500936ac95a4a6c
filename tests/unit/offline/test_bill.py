"""The offline upstream's own books."""

import json
from pathlib import Path

from gateway.offline.bill import Bill, Row

ROW = Row(id="a", model="m", endpoint="/v1/x", prompt_tokens=3, completion_tokens=2, stream=False, outcome="ok")


def test_a_row_stands_in_memory_and_in_the_file_when_add_returns(tmp_path: Path) -> None:
    bill = Bill(tmp_path / "bill.jsonl")
    bill.add(ROW)
    bill.add(ROW)
    lines = [json.loads(line) for line in (tmp_path / "bill.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == ["a", "a"]
    assert bill.summary() | {"rows": 0} == {"count": 2, "prompt_tokens": 6, "completion_tokens": 4, "rows": 0}
    bill.reset()
    assert bill.summary()["count"] == 0
    bill.close()


def test_a_second_bill_appends_to_the_same_file(tmp_path: Path) -> None:
    """A restarted upstream must not wipe out what a test is about to compare."""
    for _ in range(2):
        bill = Bill(tmp_path / "bill.jsonl")
        bill.add(ROW)
        bill.close()
    assert len((tmp_path / "bill.jsonl").read_text().splitlines()) == 2
