"""A training file from tickets to a price, with the commands as a person types them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main
from tests.fakes.running_gateway import POLICIES
from tests.fakes.training_rows import chat, distinct, line, said, talk

AT = chr(64)


class Done:
    """How a command ended, and what it said."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Done]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    shutil.copytree(POLICIES, tmp_path / "policies")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GATEWAY_POLICIES", str(tmp_path / "policies"))

    def run(*arguments: str) -> Done:
        capfd.readouterr()
        code = main(["datasets", *arguments])
        out, err = capfd.readouterr()
        return Done(code, out, err)

    return run


def write(path: Path, *rows: Any) -> Path:
    path.write_bytes(b"".join(map(line, rows)))
    return path


def test_lint_prints_every_fault_as_file_line_column_code_and_message(command: Command, tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", chat(), talk(said("bot", "a"), said("assistant", "b", weight=2)), b"{oops\n")
    done = command("lint", "a.jsonl")
    assert done.code == 1
    assert "a.jsonl:2:24 R012 the role 'bot' is not known" in done.out
    assert "a.jsonl:2:96 R020 the weight is 2" in done.out
    assert "a.jsonl:3:2 R001 not JSON" in done.out
    assert "a.jsonl:1:1 F004 2 rows" in done.out


def test_lint_ends_with_0_for_a_clean_file_1_for_errors_2_for_usage(command: Command, tmp_path: Path) -> None:
    write(tmp_path / "good.jsonl", *distinct(60))
    write(tmp_path / "few.jsonl", *distinct(20))
    assert command("lint", "good.jsonl").code == 0
    assert command("lint", "few.jsonl").code == 0
    assert command("lint", "few.jsonl", "--strict").code == 1
    assert command("lint", "nowhere.jsonl").code == 2
    assert command("lint", "good.jsonl", "--target", "nobody").code == 2
    assert command("lint", "good.jsonl", "--validation", "few.jsonl").code == 1


def test_lint_gives_json_and_sarif(command: Command, tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", chat(x=1))
    told = command("lint", "a.jsonl", "--json").json
    assert told == command("lint", "a.jsonl", "--format", "json").json
    assert {fault["code"] for fault in told["faults"]} == {"F004", "R003"}
    assert told["errors"] == 2
    assert told["dataset_hash"].startswith("ds-")
    log = command("lint", "a.jsonl", "--format", "sarif").json
    assert {result["ruleId"] for result in log["runs"][0]["results"]} == {"F004", "R003"}


def test_from_tickets_to_two_files_and_a_price(command: Command, tmp_path: Path) -> None:
    tickets = [
        {
            "id": number,
            "prompt": f"{row['messages'][0]['content']} I am jo{number}{AT}firm.test",
            "thread": f"t{number // 2}",
        }
        | {"response": row["messages"][1]["content"]}
        for number, row in enumerate(distinct(60))
    ]
    write(tmp_path / "tickets.jsonl", *tickets)
    made = command(
        "build", "tickets.jsonl", "set.jsonl", "--id", "id", "--group", "thread", "--system", "Hi", "--json"
    ).json
    assert made["rows"] == 60
    assert made["replaced"] == {"EMAIL": 60}
    again = command(
        "build", "tickets.jsonl", "again.jsonl", "--id", "id", "--group", "thread", "--system", "Hi", "--json"
    ).json
    assert again["hash"] == made["hash"]
    assert (tmp_path / "set.jsonl").read_bytes() == (tmp_path / "again.jsonl").read_bytes()
    assert command("lint", "set.jsonl", "--json").json["dataset_hash"] == made["hash"]
    parted = command("split", "set.jsonl", "--share", "0.2", "--json").json
    assert parted["validation_rows"] + parted["train_rows"] == 60
    sides = [
        {json.loads(text)["group"] for text in (tmp_path / f"{name}.provenance.jsonl").read_text().splitlines()}
        for name in (parted["train"], parted["validation"])
    ]
    assert not sides[0] & sides[1]
    assert command("lint", parted["train"], "--validation", parted["validation"]).code == 0
    counted = command("stats", parted["train"], "--json").json
    priced = command("estimate", parted["train"], "--base", "gpt-4o-mini-2024-07-18", "--json").json
    assert priced["estimate"]["rows"] == counted["rows"] == parted["train_rows"]
    assert {one["trainer"]: one["nano_usd"] for one in priced["costs"]}["local"] is None
    assert "tokens x" in command("estimate", parted["train"]).out
    assert "messages by role" in command("stats", parted["train"]).out


def test_nothing_is_written_over_unless_it_is_asked_for(command: Command, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", chat(f"jo{AT}firm.test", extra=1), chat(extra=1) | {"x": 2})
    before = path.read_bytes()
    assert command("fix", "a.jsonl").code == 0
    assert path.read_bytes() == before
    fixed = (tmp_path / "a.fixed.jsonl").read_bytes()
    assert b"extra" not in fixed
    assert command("fix", "a.jsonl").code == 1
    assert "--force" in command("fix", "a.jsonl").err
    assert command("fix", "a.jsonl", "--out", "a.jsonl").code == 1
    assert command("fix", "a.jsonl", "--force").code == 0
    assert command("fix", "a.jsonl", "--in-place").code == 0
    assert path.read_bytes() == fixed
    assert "Nothing was to be mended" in command("fix", "a.jsonl", "--in-place").out
    assert command("redact", "a.jsonl").code == 0
    assert b"<EMAIL_1>" in (tmp_path / "a.redacted.jsonl").read_bytes()
    assert sorted(tmp_path.glob(".*")) == []


def test_what_was_done_to_a_row_is_told_beside_it(command: Command, tmp_path: Path) -> None:
    write(tmp_path / "t.jsonl", {"prompt": f"I am jo{AT}firm.test", "response": "Hello."})
    command("build", "t.jsonl", "set.jsonl", "--no-redact")
    command("redact", "set.jsonl", "--out", "clean.jsonl")
    (told,) = (json.loads(text) for text in (tmp_path / "clean.jsonl.provenance.jsonl").read_text().splitlines())
    assert told["transforms"] == ["build", "redact"]
    assert told["id"] == "1"
    assert "jo" + AT not in json.dumps(told)


def test_a_file_that_cannot_be_read_as_rows_is_refused_and_nothing_is_made(command: Command, tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", chat(), b"{oops\n")
    for name in ("redact", "split"):
        done = command(name, "a.jsonl")
        assert done.code == 1
        assert "a.jsonl:2:2 R001" in done.err
    (tmp_path / "b.jsonl").write_bytes(b"PAR1 rows")
    assert command("fix", "b.jsonl").code == 1
    (tmp_path / "c.jsonl").write_bytes(b'{"a": 1}\n{"b": \n')
    assert command("build", "c.jsonl", "out.jsonl").code == 78
    assert sorted(path.name for path in tmp_path.glob("*.jsonl")) == ["a.jsonl", "b.jsonl", "c.jsonl"]


def test_a_share_that_is_none_is_said(command: Command, tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", *distinct(4))
    assert command("split", "a.jsonl", "--share", "1.5").code == 1
    write(tmp_path / "one.jsonl", chat())
    assert "belong together" in command("split", "one.jsonl").err
