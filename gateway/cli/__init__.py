"""The command `gateway`. One file per command; each calls the same function as its /admin twin."""

from gateway.core import collector

collector.begin()

from gateway.cli.main import main  # noqa: E402  # most of a start is this line

__all__ = ["main"]
