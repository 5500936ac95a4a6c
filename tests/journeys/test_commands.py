"""The command line, as its operator sees it: what it prints, and how it ends."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main
from tests.fakes.running_gateway import (
    A_SECOND,
    POLICIES,
    UPSTREAM_KEY,
    RunningGateway,
    free_port,
    running_gateway,
    until,
)

BAD_CONFIGURATION = 78


class Done:
    """How a command ended, and what it said."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    @property
    def json(self) -> Any:
        assert self.code in {0, 1}, self.err
        return json.loads(self.out)


Command = Callable[..., Done]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(POLICIES, tmp_path / "policies")
    return tmp_path


@pytest.fixture
def command(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs a command in this process: starting one of its own takes a second each time."""
    monkeypatch.chdir(folder)
    for name in ("GATEWAY_DATABASE_URL", "GATEWAY_WORKERS", "GATEWAY_KEY_PEPPER", "GATEWAY_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GATEWAY_DATA", str(folder / "data"))
    monkeypatch.setenv("GATEWAY_POLICIES", str(folder / "policies"))
    monkeypatch.setenv("GATEWAY_PORT", str(free_port()))
    monkeypatch.setenv("UPSTREAM_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("UPSTREAM_KEY", UPSTREAM_KEY)

    def run(*arguments: str) -> Done:
        capfd.readouterr()
        code = main(arguments)
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err + captured.out
        return Done(code, captured.out, captured.err)

    return run


def test_a_good_policy_is_said_to_be_good(command: Command) -> None:
    assert command("policy", "check").code == 0
    told = command("policy", "check", "--json").json
    assert told["ok"]
    assert told["faults"] == []
    assert (told["rules"], told["tests"]) == (8, 2)


def test_all_faults_of_all_files_come_at_once_with_their_places(command: Command, folder: Path) -> None:
    routing, models = folder / "policies" / "routing.yaml", folder / "policies" / "models.yaml"
    routing.write_text("rules:\n  - name: x\n    use: {path: sideways}\n  - name: y\n    when: {moon: full}\n")
    models.write_text(models.read_text().replace("attempts: 1", "attempts: 99"))
    done = command("policy", "check")
    assert done.code == BAD_CONFIGURATION
    assert "routing.yaml:3:" in done.err
    assert "routing.yaml:5:" in done.err
    assert "models.yaml:" in done.err
    told = command("policy", "check", "--json")
    assert told.code == BAD_CONFIGURATION
    faults = json.loads(told.out)["faults"]
    assert len(faults) == 3
    assert all(fault.count(":") >= 3 for fault in faults)


def test_what_is_odd_about_a_good_policy_is_said_and_counts_only_when_asked(command: Command) -> None:
    done = command("policy", "check")
    assert done.code == 0
    assert "routing.yaml:" in done.out
    assert ": warning: " in done.out
    assert ": note: " in done.out
    told = command("policy", "check", "--json").json["warnings"]
    assert {one["severity"] for one in told} == {"warning", "note"}
    assert all(one["place"].count(":") == 2 and one["message"].endswith(".") for one in told)
    assert any("'lonely-tone', version 1, ended on 2020-01-01" in one["message"] for one in told)
    strict = command("policy", "check", "--strict", "--json")
    assert strict.code == 1
    assert not strict.json["ok"]


def test_a_policy_without_warnings_passes_a_strict_check(command: Command, folder: Path) -> None:
    policies = folder / "policies"
    (policies / "routing.yaml").write_text("rules: [{name: all, use: {path: direct}}]\n")
    (policies / "models.yaml").write_text(
        "upstreams: {a: {base_url: 'http://h'}}\nmodels: {gpt-4.1-mini: {upstream: a}}\n"
    )
    done = command("policy", "check", "--strict")
    assert done.code == 0
    assert ": warning: " not in done.out
    ends = "lines: {l: {versions: [{id: gpt-4.1, upstream: a, base: b, shutdown_date: 2098-12-31}]}}\n"
    (policies / "models.yaml").write_text((policies / "models.yaml").read_text() + ends)
    assert command("policy", "check", "--strict").code == 0
    assert command("policy", "check", "--strict", "--days", "36500").code == 1


def test_teams_that_nobody_made_are_told_once_there_are_teams(command: Command, folder: Path) -> None:
    def unknown() -> list[str]:
        found = command("policy", "check", "--json").json["warnings"]
        return [one["message"] for one in found if "no team" in one["message"]]

    assert unknown() == [], "nobody knows which there are"
    assert not (folder / "data").exists(), "a check makes no database"
    command("teams", "create", "guests")
    assert unknown() == ["there is no team 'board'."]
    (folder / "policies" / "teams.yaml").write_text("teams: {board: {title: The board}}\n")
    assert unknown() == []


def test_a_training_file_that_is_not_there_is_a_fault(command: Command, folder: Path) -> None:
    routing, models = folder / "policies" / "routing.yaml", folder / "policies" / "models.yaml"
    rule = "  - {name: like-tone, when: {task: {line: tone}}, use: {path: fine_tuned, line: tone}}\n\n"
    routing.write_text(routing.read_text().replace("rules:\n", "rules:\n" + rule, 1))
    models.write_text(models.read_text().replace("shutdown_date: 2098-12-31", "training_file: examples.jsonl"))
    done = command("policy", "check")
    assert done.code == BAD_CONFIGURATION
    assert "models.yaml:46:9: there is no file" in done.err
    (folder / "policies" / "examples.jsonl").write_text('{"messages": []\n')
    done = command("policy", "check")
    assert done.code == BAD_CONFIGURATION
    assert "examples.jsonl:1:1: " in done.err
    (folder / "policies" / "examples.jsonl").write_text('{"messages": [{"role": "user", "content": "Hi"}]}\n')
    assert command("policy", "check").code == 0


def test_schemas_are_printed_or_written_for_editors(command: Command, folder: Path) -> None:
    told = command("policy", "schema", "models").json
    assert told["title"] == "policies/models.yaml"
    assert command("policy", "schema").json["title"] == "policies/routing.yaml"
    assert command("policy", "schema", "--out", str(folder / "schemas")).code == 0
    names = sorted(path.name for path in (folder / "schemas").iterdir())
    assert names == [
        f"{name}.schema.json" for name in ("knowledge", "models", "prices", "routing", "shutdowns", "signals", "teams")
    ]
    assert json.loads((folder / "schemas" / "models.schema.json").read_text()) == told


def test_a_policys_own_tests_are_run(command: Command, folder: Path) -> None:
    assert command("policy", "test").code == 0
    routing = folder / "policies" / "routing.yaml"
    routing.write_text(routing.read_text().replace("expect: {path: refused}", "expect: {path: rag}"))
    failed = command("policy", "test")
    assert failed.code == 1
    assert "guests are refused" in failed.out
    assert len(command("policy", "test", "--json").json["failures"]) == 1


def test_a_call_is_explained(command: Command) -> None:
    ask = ("policy", "explain", "--team", "support", "--text", "How long do refunds take?", "--knowledge-score", "0.9")
    assert "path rag" in command(*ask).out
    told = command(*ask, "--json").json
    assert (told["path"], told["model"], told["collections"]) == ("rag", "gpt-4.1-mini", ["help-centre"])
    refused = command("policy", "explain", "--team", "guests")
    assert refused.code == 0
    assert "refused: Guests may look" in refused.out
    assert command("policy", "explain", "--team", "x", "--header", "no-equals").code == 2


def test_a_key_is_shown_once_and_then_never_again(command: Command, folder: Path) -> None:
    assert command("teams", "create", "red", "--title", "Reds", "--budget", "40.00").code == 0
    made = command("keys", "create", "red", "--name", "app", "--json").json
    key = made["key"]
    assert key.startswith("sk-gw-")
    listed = command("keys", "list", "--json")
    assert [info["id"] for info in listed.json] == [made["info"]["id"]]
    shown = command("keys", "list").out + command("teams", "list").out + listed.out
    assert key not in shown
    assert "live" in shown
    for path in (folder / "data").rglob("*"):
        if path.is_file():
            assert key.encode() not in path.read_bytes()


def test_keys_rotate_and_end(command: Command) -> None:
    command("teams", "create", "red")
    old = command("keys", "create", "red", "--json").json["info"]
    new = command("keys", "rotate", old["id"], "--overlap-hours", "1", "--json").json
    assert new["info"]["id"] != old["id"]
    assert command("keys", "revoke", old["prefix"], "--json").json["revoked_at"] is not None
    states = {info["id"]: info["revoked_at"] for info in command("keys", "list", "--team", "red", "--json").json}
    assert states[old["id"]] is not None
    assert states[new["info"]["id"]] is None
    assert command("keys", "revoke", "key_nobody_has").code == 1


def test_teams_and_budgets_say_no_in_one_line(command: Command) -> None:
    assert command("teams", "create", "red").code == 0
    for arguments in (
        ("teams", "create", "red"),
        ("keys", "create", "nobody"),
        ("budgets", "set", "nobody", "5"),
        ("budgets", "lift", "nobody"),
    ):
        done = command(*arguments)
        assert done.code == 1, arguments
        assert len(done.err.strip().splitlines()) == 1


@pytest.mark.parametrize("amount", ["much", "-5", "NaN", "Infinity", "1e30"])
def test_an_amount_that_is_none_is_refused(command: Command, amount: str) -> None:
    command("teams", "create", "red")
    for done in (
        command("budgets", "set", "red", f"--usd={amount}"),
        command("teams", "create", "b", f"--budget={amount}"),
    ):
        assert done.code in {1, 2}
        assert len(done.err.strip().splitlines()) == 1
    assert [team["name"] for team in command("teams", "list", "--json").json] == ["red"]


def test_a_budget_is_set_listed_and_lifted(command: Command) -> None:
    command("teams", "create", "red")
    assert command("budgets", "set", "red", "12.50").code == 0
    (line,) = command("budgets", "list", "--json").json
    assert (line["scope"], line["name"], line["limit_usd"], line["spent_usd"]) == ("team", "red", "12.50", "0.00")
    assert command("budgets", "lift", "red").code == 0
    assert command("budgets", "list", "--json").json[0]["limit_usd"] is None


def test_an_empty_ledger_reports_nothing_spent(command: Command) -> None:
    assert command("usage", "report").code == 0
    total = command("usage", "report", "--json").json["total"]
    assert (total["calls"], total["cost_nano_usd"]) == (0, 0)


def test_knowledge_is_loaded_and_searched(command: Command) -> None:
    assert command("knowledge", "sync").code == 0
    status = {one["name"]: one for one in command("knowledge", "status", "--json").json}
    assert status["help-centre"]["documents"] == 2
    found = command("knowledge", "search", "help-centre", "How long do refunds take?", "--team", "support", "--json")
    assert "5 business days" in found.json["hits"][0]["text"]
    hidden = command("knowledge", "search", "board-minutes", "merger", "--team", "support")
    assert hidden.code == 1
    assert "Zephyrine" not in hidden.out


def test_a_collection_is_added_to_the_file_and_loaded(command: Command, folder: Path) -> None:
    extra = folder / "extra"
    extra.mkdir()
    (extra / "a.md").write_text("# Wombats\n\nWombats sleep in the day.\n")
    assert command("knowledge", "add", "wombats", str(extra), "--team", "red", "--model", "gpt-4.1-mini").code == 0
    assert command("policy", "check").code == 0
    found = command("knowledge", "search", "wombats", "wombats sleep", "--team", "red", "--json")
    assert found.code == 0


def test_a_repository_is_added_and_its_pass_is_told(command: Command, folder: Path) -> None:
    root = folder / "repository"
    root.mkdir()
    (root / "a.md").write_text("# Wombats\n\nWombats sleep in the day.\n")
    who = ("-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false")
    for step in (("init", "--quiet"), ("add", "--all"), (*who, "commit", "--quiet", "--message=first")):
        subprocess.run(["git", "-C", str(root), *step], check=True, capture_output=True)
    assert command("knowledge", "add", "wombats", str(root), "--kind", "git", "--team", "red").code == 0
    found = command("knowledge", "search", "wombats", "wombats sleep", "--team", "red", "--json")
    assert found.json["hits"][0]["document"] == "a.md"
    told = {one["name"]: one for one in command("knowledge", "status", "--json").json}["wombats"]["sources"]
    assert [(one["kind"], one["place"], one["record"]["documents"]) for one in told] == [("git", str(root), 1)]
    assert told[0]["record"]["success_at"] is not None
    assert "git" in command("knowledge", "status").out
    again = command("knowledge", "add", "wombats", "https://docs.example.com", "--team", "red")
    assert again.code != 0


def test_prices_are_shown_and_missing_ones_are_a_no(command: Command) -> None:
    tuned = "ft:gpt-4o-mini-2024-07-18:acme:b:x"
    done = command("prices", "show", "gpt-4.1-mini", tuned)
    assert done.code == 0
    assert tuned in done.out
    assert command("prices", "show", "nobody-has-this", "--json").code == 1


def test_the_schema_is_brought_up_to_date_and_checked(command: Command, folder: Path) -> None:
    (folder / "data").mkdir()
    assert command("db", "check").code == 1
    assert command("db", "upgrade").code == 0
    assert command("db", "check").code == 0
    assert "Already at" in command("db", "upgrade").out


@pytest.mark.parametrize(
    "arguments",
    [("nonsense",), ("keys", "nonsense"), ("keys", "create"), ("serve", "--port", "many"), ("policy", "explain")],
)
def test_a_command_that_is_none_is_a_usage_error(command: Command, arguments: tuple[str, ...]) -> None:
    assert command(*arguments).code == 2


def test_settings_are_checked_without_serving(command: Command) -> None:
    done = command("serve", "--check")
    assert done.code == 0
    assert "Good" in done.out


def test_a_check_never_shows_a_databases_password(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_DATABASE_URL", "postgresql://user:PASSWORD@127.0.0.1:1/x")
    done = command("serve", "--check")
    assert "PASSWORD" not in done.out + done.err


BAD_SETTINGS: dict[str, tuple[dict[str, str], str]] = {
    "no policies folder": ({"GATEWAY_POLICIES": "/nowhere/at/all"}, "no such folder"),
    "no upstream key": ({"UPSTREAM_KEY": ""}, "UPSTREAM_KEY"),
    "port is a word": ({"GATEWAY_PORT": "many"}, "GATEWAY_PORT"),
    "port is too large": ({"GATEWAY_PORT": "70000"}, "GATEWAY_PORT"),
    "short admin key": ({"GATEWAY_HOST": "0.0.0.0", "GATEWAY_ADMIN_KEY": "short"}, "GATEWAY_ADMIN_KEY"),
    "no workers": ({"GATEWAY_WORKERS": "0"}, "GATEWAY_WORKERS"),
    "admin key in no file": ({"GATEWAY_ADMIN_KEY": "file:/nowhere"}, "GATEWAY_ADMIN_KEY"),
}


@pytest.mark.parametrize(("settings", "told"), BAD_SETTINGS.values(), ids=BAD_SETTINGS.keys())
def test_a_bad_setting_ends_with_78_and_says_which(
    command: Command, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], told: str
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    done = command("serve", "--check")
    assert done.code == BAD_CONFIGURATION
    assert told in done.err


BAD_STARTS: dict[str, tuple[dict[str, str], str]] = {
    "no policies folder": ({"GATEWAY_POLICIES": "/nowhere/at/all"}, "no such folder"),
    "short pepper": ({"GATEWAY_KEY_PEPPER": "short"}, "GATEWAY_KEY_PEPPER"),
    "database that is away": ({"GATEWAY_DATABASE_URL": "postgresql://u:PASSWORD@127.0.0.1:9/x"}, "database"),
    "database of no known kind": ({"GATEWAY_DATABASE_URL": "mongodb://u:PASSWORD@127.0.0.1/x"}, "database"),
    "database in no folder": ({"GATEWAY_DATABASE_URL": "sqlite:////nowhere/at/all/x.db"}, "database"),
    "data folder is a file": ({"GATEWAY_DATA": "/dev/null"}, "/dev/null"),
}


def test_a_start_that_cannot_be_ends_with_78_and_says_why(gateway: RunningGateway) -> None:
    """Each in a process of its own, two at a time: a start takes a second."""

    def one(case: tuple[dict[str, str], str]) -> None:
        settings, told = case
        place = {"GATEWAY_PORT": str(free_port()), "GATEWAY_DATA": str(gateway.folder / "other-data")}
        done = gateway.cli("serve", **(place | settings))
        assert done.returncode == BAD_CONFIGURATION, done.stderr
        assert told in done.stderr
        assert "Traceback" not in done.stderr
        assert "PASSWORD" not in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, BAD_STARTS.values()))


def test_a_port_that_is_taken_ends_with_78(gateway: RunningGateway) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for workers in ("1", "2"):
            done = gateway.cli(
                "serve", "--workers", workers, GATEWAY_PORT=port, GATEWAY_DATA=str(gateway.folder / "other-data")
            )
            assert done.returncode == BAD_CONFIGURATION, done.stderr
            assert "GATEWAY_PORT" in done.stderr
            assert "Traceback" not in done.stderr


def test_other_commands_end_with_78_when_the_database_is_away(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_DATABASE_URL", "postgresql://u:PASSWORD@127.0.0.1:9/x")
    for arguments in (("teams", "list"), ("usage", "report"), ("db", "check"), ("db", "upgrade"), ("keys", "list")):
        done = command(*arguments)
        assert done.code == BAD_CONFIGURATION, (arguments, done.err)
        assert "PASSWORD" not in done.err


def test_a_command_changes_a_running_gateway_within_a_second(gateway: RunningGateway) -> None:
    gateway.team("by-command")
    key = json.loads(gateway.cli("keys", "create", "by-command", "--json").stdout)
    headers = {"authorization": f"Bearer {key['key']}"}
    until(lambda: gateway.http.get("/v1/models", headers=headers).status_code == 200, A_SECOND, what="the new key")
    assert gateway.cli("keys", "revoke", key["info"]["id"]).returncode == 0
    until(lambda: gateway.http.get("/v1/models", headers=headers).status_code == 401, A_SECOND, what="the revocation")


def test_metrics_can_have_a_listener_of_their_own(tmp_path: Path, upstream: Any) -> None:
    port = free_port()
    with running_gateway(tmp_path / "g", upstream.base_url, environment={"GATEWAY_METRICS_PORT": str(port)}) as running:
        assert running.http.get("/metrics").status_code == 404
        began = time.monotonic()
        running.post("/v1/chat/completions", {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "Hi"}]})
        text = running.http.get(f"http://127.0.0.1:{port}/metrics").text
        assert "gateway_requests_total{" in text
        assert time.monotonic() - began < 10
