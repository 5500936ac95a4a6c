"""A worker as a process of this machine: found again after a restart of whoever started it, never mistaken."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

import gateway
from gateway.core.values import Value
from gateway.tuning.worker.folder import replace_file

# What a worker inherits: keys of providers and of this gateway are none of its business.
_INHERITED = (
    *("PATH", "HOME", "USER", "LANG", "LC_", "TZ", "TMPDIR", "LD_", "VIRTUAL_ENV", "PYTHON", "XDG_"),
    *("CUDA", "NVIDIA", "NCCL", "HIP", "ROCR", "ROCM", "OMP_", "MKL_", "TORCH", "HF_HOME"),
)
PARENT_SECONDS = 0.2


class Process(Value, frozen=True):
    """A process. started: the kernel's clock when it began, as an id is used again; None where that is not told."""

    pid: int
    started: int | None


def start_worker(python: str | None, arguments: list[str], log: Path) -> "subprocess.Popen[bytes]":
    """Starts `python -m gateway.tuning.worker` in a session of its own: it outlives whoever starts it.

    python: None is this interpreter, which then runs this very package. log: where it writes, appended.
    """
    environment = {name: value for name, value in os.environ.items() if name.startswith(_INHERITED)}
    # Models are folders here; nothing is ever asked of a hub.
    environment |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    if python is None:
        _add_own_package(environment)
    with log.open("ab") as out:
        return subprocess.Popen(  # noqa: S603  # the interpreter is named by the operator, arguments are ours
            [python or sys.executable, "-m", "gateway.tuning.worker", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=environment,
            start_new_session=True,
        )


def note_process(path: Path, pid: int) -> None:
    """Writes down which process it is."""
    replace_file(path, msgspec.json.encode(Process(pid, _started(pid))))


def running_process(path: Path) -> int | None:
    """The process that was written down, if it still is the same and has not ended; else None."""
    try:
        noted = msgspec.json.decode(path.read_bytes(), type=Process)
    except FileNotFoundError:
        return None
    return noted.pid if _runs(noted.pid) and _started(noted.pid) == noted.started else None


def end_process(pid: int, sign: signal.Signals) -> None:
    """Sends a signal; to one that has gone meanwhile nothing."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, sign)


def follow(parent: int) -> None:
    """Has this process end when the one that started it does, also when that is gone already.

    parent: told by whoever starts it: an orphan that asks for its parent's id is given that of a stranger.
    """
    threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    os._exit(0)


def _add_own_package(environment: dict[str, str]) -> None:
    own = str(Path(gateway.__file__).resolve().parents[1])
    before = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = own if not before else f"{own}{os.pathsep}{before}"


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _stat(pid).get("state") != "Z"


def _started(pid: int) -> int | None:
    found = _stat(pid).get("started")
    return int(found) if found is not None else None


def _stat(pid: int) -> Mapping[str, str]:
    """What Linux tells of a process; nothing on other systems. A name in brackets may hold spaces."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {"state": fields[0], "started": fields[19]}
