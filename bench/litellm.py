"""LiteLLM's proxy from the package index: two models, no database, one worker, one master key.

It refuses to start without a key, so callers send one and it is checked, as in the gateway beside it.
"""

import json
import secrets
import subprocess
import sys
from collections.abc import Sequence
from typing import Self

from bench.bodies import PLAIN_MODEL, STREAM_MODEL
from bench.nginx import Nginx
from bench.place import WORK, Unavailable, free_port, fresh
from bench.process import Process, clean_environment

VENV = WORK / "litellm"
PROGRAM = VENV / "bin" / "litellm"
INSTALL_SECONDS = 600


def install() -> None:
    """Puts it into a virtual environment of its own. Raises Unavailable when the index cannot be reached."""
    if PROGRAM.exists():
        return
    WORK.mkdir(exist_ok=True)
    try:
        for command in (
            [sys.executable, "-m", "venv", str(VENV)],
            [str(VENV / "bin" / "pip"), "install", "-q", "--disable-pip-version-check", "litellm[proxy]"],
        ):
            subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_SECONDS)
    except (OSError, subprocess.SubprocessError) as fault:
        detail = getattr(fault, "stderr", b"") or b""
        raise Unavailable(f"litellm[proxy] could not be installed: {detail.decode()[-200:] or fault}") from fault


def version() -> str:
    """The installed version, or a word for none."""
    if not PROGRAM.exists():
        return "not installed"
    code = "import importlib.metadata as m; print(m.version('litellm'))"
    done = subprocess.run([str(VENV / "bin" / "python"), "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


class LiteLlm:
    """A running proxy in front of `upstream`. `with` ends it. Raises Unavailable, RuntimeError."""

    def __init__(self, upstream: Nginx, on: Sequence[int]) -> None:
        install()
        folder = fresh("litellm")
        self.port = free_port()
        self.key = f"sk-{secrets.token_hex(32)}"
        models = ((PLAIN_MODEL, upstream.plain_port), (STREAM_MODEL, upstream.stream_port))
        config = folder / "config.yaml"
        config.write_text(
            json.dumps(
                {
                    "model_list": [
                        {
                            "model_name": name,
                            "litellm_params": {
                                "model": f"openai/{name}",
                                "api_base": f"http://127.0.0.1:{port}/v1",
                                "api_key": "sk-bench-upstream",
                            },
                        }
                        for name, port in models
                    ],
                    "litellm_settings": {"telemetry": False},
                }
            )
        )
        # The price list that it would fetch from the network is in its package too.
        variables = clean_environment() | {
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_LOG": "ERROR",
            "LITELLM_MASTER_KEY": self.key,
        }
        # Only its own modules: none of this repository's may take the place of one of them.
        del variables["PYTHONPATH"]
        command = [str(PROGRAM), "--config", str(config), "--host", "127.0.0.1", "--port", str(self.port)]
        self.process = Process([*command, "--num_workers", "1"], on, folder / "log", variables)
        try:
            self.ready_seconds = self.process.wait_ready(self.port, "/health/readiness", 120)
        except BaseException:
            self.process.stop()
            raise

    @property
    def url(self) -> str:
        """Its base URL, `/v1` included."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def headers(self) -> dict[str, str]:
        """What a caller sends."""
        return {"authorization": f"Bearer {self.key}"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()
