"""The same server relaying to nothing: uvicorn, the gateway's own transport, and no gateway between them.

`python -m bench.relay_app PORT UPSTREAM_PORT`. What the gateway costs above this is the gateway.
"""

import sys
from typing import Any

import uvicorn
import uvloop

from gateway.upstream.port import Deadlines, Lease, Origin, Outgoing
from gateway.upstream.transport import Http1Transport

SENT = ((b"content-type", b"application/json"),)


class RelayApp:
    """An ASGI app that passes POST bodies on and replies back, each read as it comes."""

    def __init__(self, upstream_port: int) -> None:
        self._origin = Origin("http", "127.0.0.1", upstream_port)
        self._transport = Http1Transport()
        self._deadlines = Deadlines()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "GET":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        body = (await receive())["body"]
        outgoing = Outgoing("POST", scope["raw_path"], SENT, body)
        reply = await self._transport.send(self._origin, outgoing, self._deadlines, Lease())
        kept = [pair for pair in reply.headers if pair[0] in {b"content-type", b"content-length"}]
        await send({"type": "http.response.start", "status": reply.status, "headers": kept})
        while chunk := await reply.read():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def main(port: int, upstream_port: int) -> None:
    """Serves until SIGTERM."""
    config = uvicorn.Config(
        RelayApp(upstream_port),
        host="127.0.0.1",
        port=port,
        http="httptools",
        loop="uvloop",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=75,
    )
    uvloop.run(uvicorn.Server(config).serve())


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
