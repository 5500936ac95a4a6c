"""A first start without anything: a sample team and key, and the offline upstream in place of a provider."""

import os
import subprocess
import sys

from gateway.cli.output import say
from gateway.cli.place import actor, identity, run
from gateway.core.errors import BadConfiguration, Conflict
from gateway.core.settings import Settings, read_settings
from gateway.identity.keys import PREFIX

TEAM = "support"
KEY_FILE = "sample-key"
ADMIN_FILE = "admin-key"


def prepare(found: Settings) -> Settings:
    """Makes the start ready and says how to use it. Gives the settings to serve with."""
    provider_key = os.environ.get("OPENAI_API_KEY", "")
    # A shell that was told to use this gateway holds the gateway's key under the provider's name.
    rehearses = not provider_key or provider_key.startswith(PREFIX)
    if rehearses:
        os.environ["OPENAI_UPSTREAM_URL"] = _start_offline(found)
        os.environ["OPENAI_API_KEY"] = os.environ["OPENAI_ADMIN_KEY"] = "offline"
    if found.admin_key is None:
        os.environ["GATEWAY_ADMIN_KEY"] = f"file:{_admin_key(found)}"
    key = run(_sample_key(found))
    _greet(found, key, rehearses=rehearses)
    return read_settings(
        os.environ, host=found.host, port=found.port, workers=found.workers, policies=found.policies, data=found.data
    )


def _start_offline(found: Settings) -> str:
    command = [sys.executable, "-m", "gateway", "upstream", "offline", "--port", "0", "--with-parent"]
    command += ["--bill", str(found.data / "offline-bill.jsonl")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603  # our own command
    line = process.stdout.readline() if process.stdout is not None else ""
    if "http://" not in line:
        raise BadConfiguration(["the offline upstream did not start; its fault stands above."])
    return line[line.index("http://") :].strip()


async def _sample_key(found: Settings) -> str:
    """The key of the sample team: the one of the first start, for ever."""
    path = found.data / KEY_FILE
    async with identity(found) as store:
        try:
            await store.create_team(TEAM, "Sample team", actor=actor())
        except Conflict:
            if path.exists():
                return path.read_text(encoding="ascii").strip()
        key, _ = await store.create_key(TEAM, "sample", debug=True, actor=actor())
    _write_secret(path, key)
    return str(key)


def _admin_key(found: Settings) -> str:
    import secrets

    path = found.data / ADMIN_FILE
    if not path.exists():
        _write_secret(path, secrets.token_urlsafe(32))
    return str(path)


def _write_secret(path: os.PathLike[str], text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(text)


def _greet(found: Settings, key: str, *, rehearses: bool) -> None:
    base = f"http://{found.host}:{found.port}"
    answers = "the bundled offline upstream (no OPENAI_API_KEY is set)" if rehearses else "OpenAI"
    say(f"""
Switchyard is starting. Answers come from {answers}.

  curl {base}/v1/chat/completions -H 'Authorization: Bearer {key}' \\
    -H 'Content-Type: application/json' \\
    -d '{{"model": "auto", "messages": [{{"role": "user", "content": "How long do refunds take?"}}]}}'

  export OPENAI_BASE_URL={base}/v1 OPENAI_API_KEY={key}

  {base}/metrics      what Prometheus scrapes
  {base}/schema       the admin API (key: {found.data / ADMIN_FILE})
  {sys.argv[0]} usage report   who spent what
""")
