"""What the image and the compose file promise; nothing is built here (that needs a container engine)."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
COMPOSE = ROOT / "deploy" / "compose.yaml"
_INSTRUCTION = re.compile(r"^([A-Z]+)\s+(.*)$")


def instructions() -> list[tuple[str, str]]:
    """(word, rest) of each instruction of the Dockerfile, continued lines joined, comments left out."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
    return [(match[1], match[2]) for line in text.splitlines() if (match := _INSTRUCTION.match(line))]


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text())["services"]
    return found


def test_no_step_of_the_image_needs_a_shell() -> None:
    commands = [rest for word, rest in instructions() if word in ("RUN", "CMD", "ENTRYPOINT")]
    commands += [rest.partition("CMD ")[2] for word, rest in instructions() if word == "HEALTHCHECK"]
    for command in commands:
        assert isinstance(json.loads(command), list), command


def test_the_image_runs_as_nobody_in_particular_from_two_stages() -> None:
    words = instructions()
    assert [word for word, _ in words].count("FROM") == 2
    assert [rest for word, rest in words if word == "USER"] == ["65532:65532"]
    last = max(index for index, (word, _) in enumerate(words) if word == "FROM")
    assert not [rest for word, rest in words[last:] if word == "RUN"]


def test_everything_installed_has_a_hash_or_comes_from_this_tree() -> None:
    installs = [json.loads(rest) for word, rest in instructions() if word == "RUN" and '"install"' in rest]
    assert len(installs) == 3
    assert all("--require-hashes" in one or "--no-index" in one for one in installs)


def test_what_the_image_copies_is_let_through_by_dockerignore() -> None:
    lines = [line.strip() for line in (ROOT / ".dockerignore").read_text().splitlines()]
    assert "*" in lines
    let_in = {line[1:] for line in lines if line.startswith("!")}
    for word, rest in instructions():
        if word == "COPY" and not rest.startswith("--from"):
            *sources, _ = rest.split()
            # The image has one of two locks, as its builder says.
            named = {source.replace("${LOCK}", lock) for source in sources for lock in ("runtime", "local-embedder")}
            assert named <= let_in, rest
            assert all((ROOT / name).exists() for name in named)


def test_no_secret_stands_in_the_compose_file() -> None:
    text = COMPOSE.read_text()
    for name in re.findall(r"(\w*(?:PASSWORD|KEY)\w*): ", text):
        assert re.search(rf"{name}: \$\{{\w+:[?-]", text), f"{name} must come from the environment"
    asked = set(re.findall(r"\$\{(\w+):\?", text))
    offered = set(re.findall(r"^(\w+)=$", (ROOT / "deploy" / "env.example").read_text(), re.MULTILINE))
    assert asked <= offered


def test_every_service_has_a_health_check_and_what_it_waits_for_is_there() -> None:
    for name, service in services().items():
        assert "healthcheck" in service, name
        assert set(service.get("depends_on", ())) <= set(services()), name
        assert name == "migrate" or service["restart"] == "unless-stopped", name


def test_every_file_that_is_mounted_exists() -> None:
    for name, service in services().items():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (COMPOSE.parent / source).resolve().is_dir(), f"{name}: {volume}"
