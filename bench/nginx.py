"""nginx twice: as the upstream that gives fixed bodies, and as the reverse proxy that is the limit."""

import os
from collections.abc import Sequence
from typing import Self

from bench.bodies import plain_reply, stream_events
from bench.place import free_port, fresh, tool
from bench.process import Process

# One word of nginx's configuration holds at most 4,096 bytes.
PIECE = 2500

CONFIG = """
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 2048; }}
http {{
  access_log off;
  keepalive_requests 100000000;
  keepalive_timeout 300s;
  tcp_nodelay on;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
{servers}
}}
"""
FIXED = """
  server {{
    listen 127.0.0.1:{port};
    location / {{
      default_type {kind};
{pieces}
      return 200 "{names}";
    }}
  }}
"""
PROXY = """
  upstream up{port} {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://up{port};
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
"""


class Nginx:
    """A running nginx with one port for plain replies and one for streams. `with` ends it."""

    def __init__(self, name: str, on: Sequence[int], upstream: "Nginx | None" = None) -> None:
        self.plain_port, self.stream_port = free_port(), free_port()
        folder = fresh(name)
        if upstream is None:
            servers = _fixed(self.plain_port, "application/json", plain_reply())
            servers += _fixed(self.stream_port, "text/event-stream", b"".join(stream_events()))
        else:
            servers = PROXY.format(port=self.plain_port, upstream=upstream.plain_port)
            servers += PROXY.format(port=self.stream_port, upstream=upstream.stream_port)
        user = "user root;" if os.geteuid() == 0 else ""
        config = folder / "nginx.conf"
        config.write_text(CONFIG.format(folder=folder, servers=servers, user=user))
        program = tool("nginx", "nginx-light")
        command = [program, "-p", str(folder), "-c", str(config), "-e", str(folder / "start.log")]
        self.process = Process(command, on, folder / "log")
        self.ready_seconds = self.process.wait_ready(self.plain_port, "/")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()


def _fixed(port: int, kind: str, body: bytes) -> str:
    text = body.decode("ascii")
    cut = [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
    pieces = "\n".join(f"      set $b{number} '{_quoted(piece)}';" for number, piece in enumerate(cut))
    names = "".join(f"${{b{number}}}" for number in range(len(cut)))
    return FIXED.format(port=port, kind=kind, pieces=pieces, names=names)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
