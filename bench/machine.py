"""What the figures were taken on."""

import hashlib
import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path

from bench import litellm
from bench.place import ROOT, Unavailable, all_cores, tool


def machine() -> str:
    """Processor, cores, memory and kernel."""
    names = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    total = re.search(r"^MemTotal:\s*(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    memory = f"{int(total.group(1)) / 1024**2:.0f} GiB" if total else "unknown"
    load = os.getloadavg()[0]
    name = names[0] if names else platform.machine()
    cores = f"{len(all_cores())} cores, {memory} of memory"
    return f"{name}, {cores}, Linux {platform.release()}; load {load:.2f} at the start"


def versions() -> str:
    """Of what was measured and what measured it."""
    found = [f"Python {platform.python_version()}"]
    found += [f"{name} {importlib.metadata.version(name)}" for name in ("uvicorn", "uvloop", "httptools", "litestar")]
    found += [
        _said("nginx", "nginx-light", "-v", r"nginx/([\d.]+)"),
        _said("wrk", "wrk", "-v", r"^wrk \S*?([\d.]{3,})"),
    ]
    found += [f"LiteLLM {litellm.version()}", f"Switchyard {_commit()} (code {code()})"]
    return ", ".join(found)


def code() -> str:
    """Names the gateway's code as it lies on disk now: a server started later runs what stands there then."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "gateway").rglob("*.py")):
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def _said(name: str, package: str, flag: str, pattern: str) -> str:
    try:
        done = subprocess.run([tool(name, package), flag], capture_output=True, text=True, check=False)
    except Unavailable:
        return f"{name} not installed"
    match = re.search(pattern, done.stdout + done.stderr)
    return f"{name} {match.group(1) if match else 'unknown'}"


def _commit() -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"
