"""The command `gateway`. One file per command; each calls the same function as its /admin twin."""

from gateway.cli.main import main

__all__ = ["main"]
