"""One pass over a file: all faults at once, and memory that does not follow the length of its rows."""

import json
import tracemalloc
from collections.abc import Iterator
from itertools import islice, repeat

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tuning.datasets.faults import Context, Told
from gateway.tuning.datasets.lint import MOST_OF_A_CODE, lint
from gateway.tuning.datasets.registry import CODES
from gateway.tuning.datasets.rows import read_row
from gateway.tuning.datasets.rules.images import MOST_ROWS, Images
from gateway.tuning.datasets.rules.messages import KEYS, MESSAGE_KEYS
from gateway.tuning.datasets.sarif import sarif
from gateway.tuning.datasets.targets import TARGETS, target_of
from gateway.tuning.token_counts import TokenCounter
from tests.fakes.training_rows import PNG, chat, distinct, line, lines, linted, said, shown, talk

OPENAI = target_of("openai")


def test_all_faults_come_at_once_in_the_order_of_their_places() -> None:
    told = linted(b'{"messages": [}\n', talk(said("bot", "a"), said("assistant", "b", weight=3)), b"\n", chat(x=1))
    assert {"R001", "R012", "R020", "F006", "R003", "F004"} <= {fault.code for fault in told.faults}
    assert [fault.line for fault in told.faults] == sorted(fault.line for fault in told.faults)
    assert told.errors == sum(fault.severity == "error" for fault in told.faults)


def test_a_clean_file_has_no_fault_and_says_what_it_is() -> None:
    told = linted(*distinct(60))
    assert told.faults == ()
    assert (told.errors, told.warnings, told.rows) == (0, 0, 60)
    assert told.tokens > told.trained_tokens > 0
    assert not told.is_estimate
    assert linted(*distinct(60), base="unheard-of").is_estimate


def test_the_hash_is_of_what_the_rows_say_and_not_of_how_they_are_written() -> None:
    rows = distinct(5)
    turned = [json.dumps(dict(reversed(row.items())), indent=None).encode() + b"  \r\n" for row in rows]
    assert linted(*rows).dataset_hash == linted(*turned).dataset_hash
    assert linted(*rows).dataset_hash != linted(*reversed(rows)).dataset_hash
    assert linted(*rows).dataset_hash.startswith("ds-")


def test_what_is_kept_is_bounded_and_everything_is_counted() -> None:
    wrong = [chat(f"{number}", f"{number}", extra=number) for number in range(MOST_OF_A_CODE + 50)]
    told = lint(lines(*wrong), name="x", target=OPENAI)
    assert sum(fault.code == "R003" for fault in told.faults) == MOST_OF_A_CODE
    assert dict(told.counts)["R003"] == len(wrong)
    assert told.errors >= len(wrong)
    assert sum(fault.code == "R003" for fault in linted(*wrong).faults) == len(wrong)


def test_the_answer_is_what_is_cut_and_how_much_of_it_is_said() -> None:
    told = linted(chat("a", "word " * 70_000))
    (fault,) = (fault for fault in told.faults if fault.code == "L001")
    assert "4,4" in fault.message
    assert "of the answer's" in fault.message


def test_a_target_weighs_a_fault_by_its_own_rules() -> None:
    late = talk(said("user", "a"), said("system", "b"), said("assistant", "c"))
    severities = {
        name: {fault.severity for fault in linted(late, target=name).faults if fault.code == "R018"} for name in TARGETS
    }
    assert severities["openai"] == {"warning"}
    assert severities["fireworks"] == {"error"}
    assert {fault.severity for fault in linted(chat(x=1), target="local").faults if fault.code == "R003"} == {"warning"}


def test_limits_of_size_are_the_targets() -> None:
    small = msgspec.structs.replace(OPENAI, most_bytes=1_000, most_rows=9)
    counts = dict(lint(lines(*distinct(10)), name="x", target=small).counts)
    assert {"F003", "F014"} <= counts.keys()
    assert not {"F003", "F014"} & dict(linted(*distinct(10)).counts).keys()


def test_rows_with_images_are_counted_to_their_limit() -> None:
    told = Told(CODES, OPENAI, None)
    images = Images(Context(told, OPENAI, "supervised", TokenCounter("")))
    data = shown(PNG.replace(PNG, "https://pictures.test/a.png"))
    row = read_row(1, "", data)
    for _ in repeat(None, MOST_ROWS):
        images.row(row)
    images.end()
    assert not told.counts
    images.row(row)
    images.end()
    assert told.counts["I007"] == 1


def test_a_message_never_repeats_a_secret() -> None:
    """A lint report goes into logs and pull requests."""
    secret = "sk-" + "a1B2" * 8
    told = linted(chat("a", f"Use {secret}."))
    assert "P001" in dict(told.counts)
    assert secret not in msgspec.json.encode(told).decode()


def test_memory_is_flat_in_the_length_of_rows_and_small_in_their_number() -> None:
    """Bytes a row by tracemalloc's peak: digests and a signature, and nothing of the text."""

    def peak(count: int, filler: int) -> int:
        def rows() -> Iterator[bytes]:
            for number in range(count):
                words = " ".join(f"{number * 31 + place:x}" for place in range(filler))
                yield line(chat(f"Question {number}: {words}", f"Answer {number}"))

        tracemalloc.start()
        lint(rows(), name="x", target=OPENAI)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(50, 10)
    few, many = peak(500, 20), peak(5_000, 20)
    assert (many - few) / 4_500 < 1_500
    # Rows twenty times as long hold no more: their texts alone would be over a megabyte.
    assert peak(500, 400) - few < 500_000


def test_sarif_names_each_rule_once_and_each_place() -> None:
    told = linted(chat(x=1), chat(x=1))
    log = msgspec.to_builtins(sarif(told, "1.0"))
    run = log["runs"][0]
    assert log["version"] == "2.1.0"
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == sorted({fault.code for fault in told.faults})
    assert len(run["results"]) == len(told.faults)
    places = {result["locations"][0]["physicalLocation"]["region"]["startLine"] for result in run["results"]}
    assert places == {1, 2}


@given(st.lists(st.binary(max_size=60), max_size=8), st.sampled_from(["supervised", "dpo", "reinforcement"]))
def test_no_bytes_make_lint_raise(parts: list[bytes], method: str) -> None:
    linted(*(part.replace(b"\n", b"") + b"\n" for part in parts), method=method)


PARTS = ("type", "function", "arguments", "parameters", "image_url", "url", "text", "id", "name")
Anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.sampled_from(["user", "function", "text", "image_url", "{}", "é"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(PARTS), inner, max_size=4),
    max_leaves=12,
)
Message = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool", "system"]) | Anything},
    optional=dict.fromkeys(sorted(MESSAGE_KEYS - {"role"}), Anything),
)
Messages = st.lists(Message | Anything, max_size=4) | Anything
KEYS_OF_ROWS = sorted({*KEYS["supervised"], *KEYS["dpo"], "sample", "system"} - {"messages", "input"})
Row = st.fixed_dictionaries(
    {},
    optional={
        "messages": Messages,
        "input": Anything | st.fixed_dictionaries({"messages": Messages}),
        **dict.fromkeys(KEYS_OF_ROWS, Messages),
    },
)


@given(st.lists(Row | Anything, min_size=1, max_size=4), st.sampled_from(["supervised", "dpo", "reinforcement"]))
def test_no_json_makes_lint_raise_and_every_column_is_in_its_line(rows: list[object], method: str) -> None:
    written = [json.dumps(row) for row in rows]
    told = linted(*(one.encode() + b"\n" for one in written), method=method, target="together", validation=rows)
    for fault in told.faults:
        assert 1 <= fault.line <= len(written) or fault.line == 1
        assert 1 <= fault.column <= len(written[fault.line - 1]) + 1


def test_a_line_without_an_end_is_a_line() -> None:
    assert linted(*islice(distinct(3), 2), line(distinct(3)[2]).rstrip()).rows == 3


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_says_where_its_rules_stand(name: str) -> None:
    assert TARGETS[name].source
