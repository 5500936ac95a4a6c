"""Sources of knowledge.yaml as their connectors take them."""

from pathlib import Path

import pytest

from gateway.core.errors import BadConfiguration
from gateway.knowledge.connectors.git import GitSettings
from gateway.knowledge.connectors.google_docs import GoogleDocsSettings
from gateway.knowledge.connectors.website import WebsiteSettings
from gateway.knowledge.settings import SourceSettings
from gateway.live import load_all
from gateway.live_knowledge import collections_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "routing.yaml").write_text("rules: [{name: everything-else, use: {path: direct}}]")
    (tmp_path / "models.yaml").write_text(
        "upstreams: {main: {base_url: 'http://main.test/v1'}}\nmodels: {a: {upstream: main}}"
    )
    return tmp_path


def sources(folder: Path, *entries: str) -> tuple[SourceSettings, ...]:
    lines = "".join(f"      - {entry}\n" for entry in entries)
    (folder / "knowledge.yaml").write_text(f"collections:\n  c:\n    sources:\n{lines}")
    (collection,) = collections_of(load_all(folder, {"G": "{}"}))
    return collection.sources


def test_places_are_meant_from_the_policies_unless_they_are_addresses(folder: Path) -> None:
    found = sources(
        folder,
        "{path: handbook, include: ['*.md']}",
        "{kind: git, url: repo}",
        "{kind: git, url: 'https://git.example.com/a.git', branch: docs, every: 1h}",
        "{kind: website, url: 'https://docs.example.com/', every: 90s, requests_per_second: 2, exclude: ['/old/*']}",
        "{kind: google_docs, folders: [a, b], credentials: env:G, restricted: [agents]}",
    )
    assert found[0] == SourceSettings("folder", str(folder / "handbook"), ("*.md",))
    assert found[1] == GitSettings("git", str(folder / "repo"))
    assert found[2] == GitSettings("git", "https://git.example.com/a.git", branch="docs", every_seconds=3600.0)
    assert found[3] == WebsiteSettings(
        "website", "https://docs.example.com", every_seconds=90.0, requests_per_second=2.0, exclude=("/old/*",)
    )
    drive = "https://www.googleapis.com"
    assert found[4] == GoogleDocsSettings(
        "google_docs", drive, folders=("a", "b"), credentials="env:G", restricted=("agents",)
    )


def test_each_source_has_a_place_of_its_own(folder: Path) -> None:
    found = sources(
        folder,
        "{kind: git, url: 'git@h.example.com:a/b.git', branch: docs}",
        "{kind: zendesk, url: 'https://x.zendesk.com', locale: de}",
        "{kind: google_docs, folders: [a, b], credentials: env:G}",
        "{kind: google_docs, folders: [c], credentials: env:G}",
        "{kind: notion, databases: [d], token: env:G}",
    )
    places = ["git@h.example.com:a/b.git#docs", "https://x.zendesk.com/de", "a,b", "c", "https://api.notion.com#d"]
    assert [source.place for source in found] == places


def test_secrets_that_are_missing_are_told_with_their_lines(folder: Path) -> None:
    with pytest.raises(BadConfiguration) as bad:
        sources(
            folder,
            "{kind: notion, token: env:NOT_THERE}",
            f"{{kind: notion, databases: [d], token: 'file:{folder}/x'}}",
        )
    first, second = bad.value.faults
    assert (
        first == f"{folder}/knowledge.yaml:4:24: source of 'c': token: the environment variable NOT_THERE is not set."
    )
    assert second.startswith(f"{folder}/knowledge.yaml:5:40: source of 'c': token: ")


def test_two_sources_of_one_place_are_a_fault(folder: Path) -> None:
    """Each source keeps what it knows under its kind and place; two would tread on each other."""
    site = "{kind: website, url: 'https://docs.example.com', include: ['/%s/*']}"
    with pytest.raises(BadConfiguration) as bad:
        sources(folder, site % "a", site % "b")
    assert "knowledge.yaml:5:" in bad.value.faults[0]
    assert "stands twice" in bad.value.faults[0]


def test_what_is_taken_changes_the_fingerprint_and_how_often_does_not() -> None:
    one = WebsiteSettings("website", "https://x.example.com")
    assert one.fingerprint == WebsiteSettings("website", "https://x.example.com", every_seconds=1).fingerprint
    assert one.fingerprint != WebsiteSettings("website", "https://x.example.com", include=("/a",)).fingerprint
    assert one.fingerprint != WebsiteSettings("website", "https://x.example.com", restricted=("a",)).fingerprint
