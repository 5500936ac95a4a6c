"""New prices come in whole; the old ones end the day before; what people wrote stays."""

from datetime import date
from pathlib import Path

import pytest

from gateway.core.document import read_document, validate
from gateway.core.errors import BadConfiguration
from gateway.pricing.apply import Applied, applied, apply_file
from gateway.pricing.overlay import PriceOverlay
from gateway.pricing.table import PriceTable, table_from

OLD = """\
# Our prices.

prices:
  # The small one.
  - models: [small]   # as sent upstream
    input: 1.00
    source: a page    # with a comment
    read_on: 2026-01-01

  - models: [large]
    from: 2026-01-01
    to: 2026-12-31    # a year
    input: 9.00
    source: a page
    read_on: 2026-01-01
"""
NEW = """\
prices:
- models: [small]
  from: 2026-12-01
  input: 2.00   # dearer
  source: another page
  read_on: 2026-11-23
# The large one too.
- models: [large]
  from: 2026-12-01
  input: 10.00
  source: another page
  read_on: 2026-11-23
"""
FLOW = "prices: [{models: [m], from: 2026-12-01, input: 1, source: s, read_on: 2026-11-23}]"


def taken_in(before: str = OLD, incoming: str = NEW) -> Applied:
    return applied(before, incoming, "prices.yaml", "new.yaml")


def table(text: str) -> PriceTable:
    return table_from(validate(read_document(text, "prices.yaml"), PriceOverlay))


def test_old_entries_end_the_day_before_the_new_ones_begin() -> None:
    prices = table(taken_in().text)
    days = (date(2026, 11, 30), date(2026, 12, 1), date(2027, 1, 1))
    for model, expected in (("small", [1, 2, 2]), ("large", [9, 10, 10])):
        found = [prices.rates(model, day) for day in days]
        assert [rates.input if rates else None for rates in found] == [usd * 1_000_000 for usd in expected]


def test_comments_and_the_order_of_everything_stay() -> None:
    text = taken_in().text
    for line in OLD.splitlines():
        assert line in text or line.strip().startswith("to:")
    for told in ("# dearer", "# The large one too.", "to: 2026-11-30 # a year"):
        assert told in text
    assert [closed.last_day for closed in taken_in().closed] == [date(2026, 11, 30)] * 2
    assert taken_in().added == ("small", "large")


def test_a_file_that_is_not_there_yet_begins(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    assert apply_file(path, NEW, is_dry_run=True).closed == ()
    assert not path.exists()
    apply_file(path, NEW)
    assert table(path.read_text()).rates("small", date(2026, 12, 1)) is not None
    assert [one.name for one in tmp_path.iterdir()] == ["prices.yaml"]


@pytest.mark.parametrize(
    ("before", "incoming", "told"),
    [
        (OLD, NEW.replace("  from: 2026-12-01\n", ""), "new.yaml:2:3: an entry to apply needs its first day"),
        (OLD, NEW.replace("2026-12-01", "2025-12-01"), "overlaps the entry at prices.yaml:10:5"),
        (OLD, NEW.replace("input: 2.00", "to: 2026-12-09\n  input: 2.00"), "goes on after that"),
        (OLD.replace("[small]", "[small, tiny]"), NEW, "also prices 'tiny'"),
        (OLD, "prices: []\n", "no entries"),
        (
            OLD,
            "prices: [{models: [m], from: 2026-12-01, input: 1, source: s, read_on: 2026-11-23}]",
            "begin each entry",
        ),
        ("prices: [{models: [small], input: 1, source: s, read_on: 2026-11-23}]\n", NEW, "a key to a line"),
        (OLD, NEW + NEW.replace("prices:\n", ""), "two entries price"),
        (OLD, "prices: 7\n", "new.yaml:1:1"),
    ],
)
def test_what_would_be_a_guess_is_refused_and_changes_nothing(
    tmp_path: Path, before: str, incoming: str, told: str
) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(before)
    with pytest.raises(BadConfiguration) as caught:
        apply_file(path, incoming, "new.yaml")
    assert told in str(caught.value)
    assert path.read_text() == before


def test_the_shipped_file_takes_a_new_entry_and_keeps_every_comment() -> None:
    shipped = (Path(__file__).parents[3] / "policies" / "prices.yaml").read_text()
    new = NEW.split("# The large", maxsplit=1)[0].replace("[small]", '["ft:gpt-4o-2024-08-06", "ft:gpt-4o"]')
    text = taken_in(shipped, new).text
    added = set(text.splitlines()) - set(shipped.splitlines())
    assert "    to: 2026-11-30" in added
    assert not set(shipped.splitlines()) - set(text.splitlines())
