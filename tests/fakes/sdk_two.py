"""The official SDK before its third major, in a virtual environment of its own: the two cannot share one."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.fakes.running_gateway import ROOT, plain_environment

REQUIREMENTS = ROOT / "requirements" / "sdk2.txt"
INSTALL_SECONDS = 120
WALK_SECONDS = 120


def python_with_sdk_two(folder: Path) -> Path | str:
    """Its interpreter, made once and kept as long as the lock stays the same; or why there is none."""
    name = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:16]
    home = folder / f"sdk2-{name}"
    python = home / "bin" / "python"
    done = home / "installed"
    if done.exists():
        return python
    steps = (
        [sys.executable, "-m", "venv", str(home)],
        [str(python), "-m", "pip", "install", "-q", "--require-hashes", "-r", str(REQUIREMENTS)],
    )
    for step in steps:
        try:
            made = subprocess.run(step, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as fault:
            return f"{step[1:4]}: {type(fault).__name__}"
        if made.returncode:
            return f"{step[1:4]}: {made.stderr.strip().splitlines()[-1:]}"
    done.touch()
    return python


def walked(python: Path, base_url: str, key: str) -> dict[str, Any]:
    """What `sdk_walk.py` reports under that interpreter."""
    script = str(ROOT / "tests" / "fakes" / "sdk_walk.py")
    done = subprocess.run(
        [str(python), "-W", "ignore", script, base_url, key],
        capture_output=True,
        text=True,
        timeout=WALK_SECONDS,
        check=False,
        env=plain_environment(),
    )
    assert done.returncode == 0, done.stderr[-4000:]
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report
