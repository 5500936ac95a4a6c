"""Litestar: the /v1 mount, /admin, health and metrics. `/v1` is raw ASGI inside; see proxy.py."""
