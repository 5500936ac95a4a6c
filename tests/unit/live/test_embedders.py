"""What knowledge.yaml's embedders are, and when they are made anew."""

from pathlib import Path

import pytest

from gateway.core.errors import BadConfiguration
from gateway.knowledge.embedders.remembered import Remembered
from gateway.live import load_all
from gateway.live_knowledge import embedders_of
from tests.fakes.sentence_model import write_sentence_model

LOCAL = "embedders:\n  local:\n    kind: onnx\n    path: minilm\n    max_tokens: 64\n"


async def nobody(_url: str, _headers: dict[str, str], _body: bytes) -> bytes:
    raise NotImplementedError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "routing.yaml").write_text("rules: [{name: everything-else, use: {path: direct}}]")
    (tmp_path / "models.yaml").write_text(
        "upstreams: {main: {base_url: 'http://main.test/v1'}}\nmodels: {a: {upstream: main}}"
    )
    (tmp_path / "knowledge.yaml").write_text(LOCAL)
    write_sentence_model(tmp_path / "minilm")
    return tmp_path


def made(folder: Path, kept: dict[str, Remembered] | None = None) -> dict[str, Remembered]:
    return embedders_of(load_all(folder), {}, nobody, kept)


def test_a_folder_is_meant_from_the_policies_unless_absolute(folder: Path, tmp_path: Path) -> None:
    name = made(folder)["local"].name
    (folder / "knowledge.yaml").write_text(LOCAL.replace("path: minilm", f"path: {tmp_path}/minilm"))
    assert made(folder)["local"].name == name


def test_a_reload_keeps_a_model_that_did_not_change(folder: Path) -> None:
    before = made(folder)
    (folder / "routing.yaml").write_text("rules: [{name: other, use: {path: direct}}]")
    (folder / "knowledge.yaml").write_text(f"context_tokens: 500\n{LOCAL}")
    assert made(folder, before)["local"] is before["local"]


def test_a_reload_makes_anew_what_changed_in_the_entry_or_in_the_folder(folder: Path) -> None:
    before = made(folder)
    write_sentence_model(folder / "minilm", seed=2)
    after = made(folder, before)
    assert after["local"].name != before["local"].name
    (folder / "knowledge.yaml").write_text(LOCAL.replace("64", "32"))
    assert made(folder, after)["local"].name != after["local"].name


def test_a_bad_model_is_named_with_its_line_beside_other_faults(folder: Path) -> None:
    (folder / "models.yaml").write_text("upstreams: {main: {base_url: 'http://main.test/v1', api_key: env:ABSENT}}")
    far = "  far: {upstream: main, model: embed-1}\n"
    (folder / "knowledge.yaml").write_text(LOCAL.replace("minilm", "nowhere") + far)
    with pytest.raises(BadConfiguration) as bad:
        made(folder)
    place, secret = bad.value.faults
    assert place == f"{folder}/knowledge.yaml:4:5: there is no folder {folder}/nowhere."
    assert "ABSENT" in secret
