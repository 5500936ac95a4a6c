"""Lines of the registry beside the files: a change of a line makes no file bad that is good."""

import json
from pathlib import Path

import pytest

from gateway.core.errors import BadConfiguration
from gateway.live import load_all
from gateway.policy.registry_file import KEPT

MODELS = """
upstreams: {main: {base_url: "http://127.0.0.1:9/v1"}}
models: {"*": {upstream: main}}
lines: {tone: {versions: [{id: "ft:1", upstream: main, base: base}]}}
"""
ROUTING = """
rules: [{name: all, use: {path: fine_tuned, line: tone}}]
tests: [{name: as written, call: {team: a, model: auto, text: hi}, expect: {path: fine_tuned, model: "ft:1"}}]
"""


def folder(tmp_path: Path, routing: str = ROUTING) -> Path:
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "models.yaml").write_text(MODELS)
    (policies / "routing.yaml").write_text(routing)
    versions = [{"id": f"ft:{number}", "upstream": "main", "base": "base"} for number in (1, 2)]
    registry = {"lines": {"tone": {"versions": versions, "champion": 2}}}
    (tmp_path / KEPT).write_text(json.dumps(registry))
    return policies


def test_a_promotion_fails_no_test_that_the_files_pass_by_themselves(tmp_path: Path) -> None:
    loaded = load_all(folder(tmp_path), None, tmp_path)
    assert loaded.rulebook.models.lines["tone"].champion == 2
    assert loaded.rulebook.written_lines == {"tone"}


def test_a_test_that_fails_by_itself_is_a_fault_with_or_without_a_registry(tmp_path: Path) -> None:
    policies = folder(tmp_path, ROUTING.replace("path: fine_tuned, model", "path: direct, model"))
    with pytest.raises(BadConfiguration, match="as written"):
        load_all(policies, None, tmp_path)
