"""Where a run happens: folders, ports, cores."""

import os
import shutil
import socket
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / ".bench"
# Read once: this process gives some of them up later.
_CORES: list[int] = sorted(os.sched_getaffinity(0))


class Cores(NamedTuple):
    """Who runs where. server: the measured one; load: the generator, the upstream and this process."""

    server: tuple[int, ...]
    load: tuple[int, ...]
    apart: bool


def cores() -> Cores:
    """The last core serves and the first one loads. apart: False on a machine of one core."""
    have = _CORES
    if len(have) == 1:
        return Cores((have[0],), (have[0],), apart=False)
    return Cores((have[-1],), tuple(have[: max(1, len(have) - 2)]), apart=True)


def all_cores() -> tuple[int, ...]:
    """Every core this process was given when it started."""
    return tuple(_CORES)


def pin_here() -> None:
    """Moves this process to the load's cores, so that it does not disturb the measured one."""
    os.sched_setaffinity(0, cores().load)


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fresh(name: str) -> Path:
    """An empty folder for one part of the run."""
    path = WORK / "run" / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


class Unavailable(Exception):
    """Something a figure needs is not on this machine; the figure is skipped and says why."""


def tool(name: str, package: str) -> str:
    """The path of a program. Raises Unavailable with the Debian package that has it."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if found is None:
        raise Unavailable(f"{name} is not installed (Debian package {package!r})")
    return found
