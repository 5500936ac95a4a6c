"""Beyond the contract: branches, globs, renames, history that is rewritten, secrets, what git is not talked into."""

import subprocess
from pathlib import Path

import pytest

from gateway.knowledge.connectors.git import GitConnector, GitSettings
from tests.fakes.api_server import Answer, Asked, serving
from tests.fakes.asking import a_pass


class Repository:
    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        self.run("init", "--quiet", "--initial-branch=main")

    def run(self, *command: str) -> str:
        who = ["-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", "-C", str(self.root), *who, *command], check=True, capture_output=True)
        return done.stdout.decode().strip()

    def commit(self, **files: str) -> None:
        for name, text in files.items():
            path = self.root / name.replace("__", "/")
            path = path if "." in path.name else path.with_suffix(".md")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.run("add", "--all")
        self.run("commit", "--quiet", "--allow-empty", "--message=edit")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


def connector(repository: Repository, **settings: object) -> GitConnector:
    mirrors = str(repository.root.parent / "mirrors")
    return GitConnector(GitSettings("git", str(repository.root), mirrors=mirrors, **settings))  # type: ignore[arg-type]  # by name


async def test_a_rename_is_a_removal_and_a_document(repository: Repository) -> None:
    repository.commit(a="alpha", b="beta")
    told = await a_pass(connector(repository))
    repository.run("mv", "a.md", "c.md")
    repository.commit()
    after = await a_pass(connector(repository), told.cursor)
    assert (set(after.documents), after.removals) == ({"c.md"}, ["a.md"])


async def test_a_branch_is_read_and_no_other(repository: Repository) -> None:
    repository.commit(a="alpha")
    repository.run("checkout", "--quiet", "-b", "docs")
    repository.commit(b="beta")
    repository.run("checkout", "--quiet", "main")
    assert set((await a_pass(connector(repository, branch="docs"))).documents) == {"a.md", "b.md"}
    assert set((await a_pass(connector(repository))).documents) == {"a.md"}
    (fault,) = (await a_pass(connector(repository, branch="nope"))).faults
    assert fault.keeps == "*"


async def test_globs_and_kinds_narrow(repository: Repository) -> None:
    repository.commit(**{"docs__a": "alpha", "docs__b.py": "x = 1", "c": "gamma", ".hidden.md": "h", "d.png": "p"})
    assert set((await a_pass(connector(repository))).documents) == {"docs/a.md", "c.md"}
    told = await a_pass(connector(repository, include=("docs/*",)))
    assert set(told.documents) == {"docs/a.md", "docs/b.py"}
    assert dict(told.documents["docs/b.py"].attributes) == {"source": "git", "section": "docs"}
    assert told.documents["docs/b.py"].filename == "b.py"


async def test_other_globs_take_effect_at_once(repository: Repository) -> None:
    repository.commit(a="alpha", docs__b="beta")
    told = await a_pass(connector(repository))
    after = await a_pass(connector(repository, include=("docs/*",)), told.cursor)
    assert after.removals == ["a.md"]


async def test_a_history_that_was_rewritten_is_followed(repository: Repository) -> None:
    repository.commit(a="alpha")
    repository.commit(b="beta")
    told = await a_pass(connector(repository))
    repository.run("reset", "--quiet", "--hard", "HEAD~1")
    repository.commit(c="gamma")
    after = await a_pass(connector(repository), told.cursor)
    assert (set(after.documents), after.removals) == ({"c.md"}, ["b.md"])


async def test_a_copy_that_is_lost_or_broken_is_made_anew(repository: Repository) -> None:
    repository.commit(a="alpha")
    told = await a_pass(connector(repository))
    (copy,) = (repository.root.parent / "mirrors").iterdir()
    (copy / "HEAD").write_text("broken")
    (copy / "config").write_text("[broken")
    repository.commit(b="beta")
    after = await a_pass(connector(repository), told.cursor)
    assert (set(after.documents), after.removals) == ({"a.md", "b.md"}, []) or set(after.documents) == {"b.md"}
    assert after.cursor is not None


async def test_links_out_of_the_repository_are_not_followed(repository: Repository) -> None:
    (repository.root / "secret.md").symlink_to("/etc/hostname")
    repository.commit(a="alpha")
    assert set((await a_pass(connector(repository))).documents) == {"a.md"}


async def test_names_that_are_not_plain_are_read(repository: Repository) -> None:
    repository.commit(**{"ü mit leer.md": "alpha", 'quote"d.md': "beta"})
    assert set((await a_pass(connector(repository))).documents) == {"ü mit leer.md", 'quote"d.md'}


async def test_a_program_is_no_repository(tmp_path: Path) -> None:
    """`ext::` runs what follows it; only transports that carry data are let pass."""
    ran = tmp_path / "ran"
    settings = GitSettings("git", f"ext::sh -c touch% {ran}", mirrors=str(tmp_path / "mirrors"))
    (fault,) = (await a_pass(GitConnector(settings))).faults
    assert "git fetch failed" in fault.line
    assert not ran.exists()


async def test_a_token_is_in_no_argument_and_no_fault(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret")
    settings = GitSettings(
        "git", "http://127.0.0.1:9/x.git", token=f"file:{tmp_path}/token", mirrors=str(tmp_path / "mirrors")
    )
    (fault,) = (await a_pass(GitConnector(settings))).faults
    assert "s3cret" not in fault.line
    written = [path.read_bytes() for path in (tmp_path / "mirrors").rglob("*") if path.is_file()]
    assert written
    assert not any(b"s3cret" in data for data in written)


async def test_a_token_opens_a_repository_over_http(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret")

    def answer(asked: Asked) -> Answer:
        return Answer(b"no", 403)

    async with serving(answer) as server:
        settings = GitSettings(
            "git", f"{server.url}/x.git", token=f"file:{tmp_path}/token", mirrors=str(tmp_path / "mirrors")
        )
        await a_pass(GitConnector(settings))
        assert server.asked[0].path == "/x.git/info/refs"
        assert server.asked[0].headers["authorization"] == "Basic Z2l0OnMzY3JldA=="


async def test_a_file_that_cannot_be_read_is_told_by_each_pass_until_it_can(repository: Repository) -> None:
    repository.commit(**{"a.pdf": "no pdf", "b": "beta"})
    told = await a_pass(connector(repository))
    assert set(told.documents) == {"b.md"}
    again = await a_pass(connector(repository), told.cursor)
    assert again.lines == told.lines
    assert "a.pdf: This PDF cannot be read" in again.lines[0]
    (repository.root / "a.pdf").unlink()
    repository.commit(c="gamma")
    assert (await a_pass(connector(repository), again.cursor)).lines == []


async def test_copies_are_not_kept_where_others_may_write(repository: Repository, tmp_path: Path) -> None:
    """The configuration of a copy names programs that git runs."""
    repository.commit(a="alpha")
    mirrors = tmp_path / "mirrors"
    mirrors.mkdir(mode=0o700)
    mirrors.chmod(0o777)
    (fault,) = (await a_pass(connector(repository))).faults
    assert "not this user's alone" in fault.line
