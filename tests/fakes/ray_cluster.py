"""A stand-in for a Ray cluster: its job API on a real socket, which really runs what is submitted, as processes."""

import asyncio
import contextlib
import json
import os
import shlex
from collections.abc import AsyncIterator

from tests.fakes.scripted_server import ScriptedServer, Visit, scripted


class RayCluster:
    """Answers as Ray 2.60 did when it was asked the same. environment: what its processes have beside its own."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.submitted: list[dict[str, object]] = []
        self.headers: list[bytes] = []
        self.is_away = False
        self._environment = environment
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._stopped: set[str] = set()

    async def answer(self, visit: Visit) -> None:
        method, path = visit.head.split(b" ")[0].decode(), visit.head.split(b" ")[1].decode()
        self.headers.append(visit.head)
        if self.is_away:
            await _say(visit, 503, b"no leader")
        elif method == "POST" and path == "/api/jobs/":
            await self._submit(visit, json.loads(visit.body))
        elif path.startswith("/api/jobs/"):
            await self._of_one(visit, *path.removeprefix("/api/jobs/").partition("/")[::2])
        else:
            await _say(visit, 404, b"404: Not Found")

    async def end(self) -> None:
        """Kills what still runs."""
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _submit(self, visit: Visit, asked: dict[str, object]) -> None:
        name = str(asked["submission_id"])
        if name in self._processes:
            text = f"ValueError: Job with submission_id {name} already exists. Please use a different submission_id.\n."
            await _say(visit, 500, text.encode())
            return
        self.submitted.append(asked)
        self._processes[name] = await asyncio.create_subprocess_exec(
            *shlex.split(str(asked["entrypoint"])),
            env={**os.environ, **self._environment},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await _say(visit, 200, json.dumps({"job_id": name, "submission_id": name}).encode())

    async def _of_one(self, visit: Visit, name: str, action: str) -> None:
        process = self._processes.get(name)
        if process is None:
            await _say(visit, 404, f"Job {name} does not exist".encode())
        elif action == "stop":
            runs = process.returncode is None
            if runs:
                self._stopped.add(name)
                process.terminate()
            await _say(visit, 200, json.dumps({"stopped": runs}).encode())
        else:
            await _say(visit, 200, json.dumps({"submission_id": name, "status": self.status(name)}).encode())

    def status(self, name: str) -> str:
        code = self._processes[name].returncode
        if code is None:
            return "RUNNING"
        if name in self._stopped:
            return "STOPPED"
        return "SUCCEEDED" if code == 0 else "FAILED"

    def kill(self, name: str) -> None:
        """As a machine of the cluster that is lost."""
        self._processes[name].kill()


@contextlib.asynccontextmanager
async def ray_cluster(environment: dict[str, str]) -> AsyncIterator[tuple[RayCluster, ScriptedServer]]:
    cluster = RayCluster(environment)
    async with scripted(cluster.answer) as server:
        try:
            yield cluster, server
        finally:
            await cluster.end()


async def _say(visit: Visit, status: int, body: bytes) -> None:
    head = f"HTTP/1.1 {status} Said\r\ncontent-length: {len(body)}\r\ncontent-type: application/json\r\n\r\n"
    await visit.write(head.encode() + body)
