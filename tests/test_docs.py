"""Docs say what is: generated tables are up to date, links and named files exist, commands are real."""

import re
from pathlib import Path

import pytest

from gateway.policy.routing_file import CONDITIONS
from tests.docs_tables import README as POLICIES
from tests.docs_tables import with_table

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page for pattern in ("*.md", "docs/**/*.md", "policies/README.md", "bench/README.md") for page in ROOT.glob(pattern)
)
MADE_BY_USERS = {"deploy/.env"}
_LINK = re.compile(r"\[[^\]]+\]\(([^)#:]+)\)")
_FILE = re.compile(r"`((?:gateway|tests|bench|deploy|policies|docs|migrations|requirements)/[\w./-]*\.\w+)`")


def test_the_table_of_conditions_is_the_one_the_code_gives() -> None:
    text = POLICIES.read_text(encoding="utf-8")
    assert with_table(text) == text
    assert all(f"`{key}`" in text for key in CONDITIONS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_named_files_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    missing = [link for link in _LINK.findall(text) if not (page.parent / link).exists()]
    missing += [name for name in _FILE.findall(text) if name not in MADE_BY_USERS and not (ROOT / name).exists()]
    assert not missing


def test_no_page_or_file_names_a_place_of_one_machine() -> None:
    machine = re.compile(r"/(?:work|root|home)/\w")
    pages = [page for page in PAGES if machine.search(page.read_text(encoding="utf-8"))]
    assert not pages


def test_locks_hold_hashes_and_no_addresses() -> None:
    for lock in (ROOT / "requirements").glob("*.txt"):
        text = lock.read_text(encoding="utf-8")
        assert "--hash=sha256:" in text
        assert "://" not in text
        assert "--index" not in text
        assert "--find-links" not in text
