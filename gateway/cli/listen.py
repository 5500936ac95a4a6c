"""What the serving processes share: the socket, and the names they tell each other."""

import shutil
import socket
import sys
from pathlib import Path

from gateway.core.errors import BadConfiguration
from gateway.core.settings import Settings, is_loopback

# Where prometheus_client keeps the counters of several processes; it reads the variable itself.
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
WORKER = "GATEWAY_WORKER"


def bind(found: Settings, *, shared: bool = False) -> socket.socket:
    """The listening socket. Raises BadConfiguration when the address cannot be had."""
    family = socket.AF_INET6 if ":" in found.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((found.host, found.port))
    except OSError as fault:
        listener.close()
        where = f"{found.host}:{found.port}"
        raise BadConfiguration([f"{where}: {fault.strerror}; set GATEWAY_PORT to a free one."]) from None
    return listener


def warn_open(found: Settings) -> None:
    """Says so when others can reach /admin's door without a key being set."""
    if not is_loopback(found.host) and found.admin_key is None:
        sys.stderr.write("GATEWAY_ADMIN_KEY is not set: /admin is closed.\n")


def forget_gauges(folder: Path, pid: int) -> None:
    """Takes a dead process's gauges out of the sum; what it counted stays."""
    for path in folder.glob(f"gauge_live*_{pid}.db"):
        path.unlink(missing_ok=True)


def fresh_folder(path: Path) -> Path:
    """An empty folder."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path
