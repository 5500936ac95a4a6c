"""Where rows are exported to, read from GATEWAY_EXPORT."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from gateway.core.errors import BadConfiguration
from gateway.ledger.export.clickhouse import ClickHouse, read_address
from gateway.ledger.export.parquet import ParquetFolder

RIGHT = (
    "it must be parquet:/folder, parquet:s3://bucket/prefix or clickhouse:http(s)://user@host:8123/database.table "
    "(its password in GATEWAY_EXPORT_PASSWORD)."
)
# url, headers, body -> the reply's body. Raises GatewayError for anything but a 2xx.
Post = Callable[[str, dict[str, str], bytes], Awaitable[bytes]]


class Target(Protocol):
    """Takes batches of rows. every_seconds: how often it likes to get one."""

    every_seconds: float

    async def write(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Takes a batch. The same name means the same rows: taken twice, they are there once.

        Raises OSError or GatewayError when it cannot; then the batch comes again.
        """
        ...


def target_of(written: str, password: str | None, post: Post) -> Target:
    """The target that GATEWAY_EXPORT names. Raises BadConfiguration with what would be right."""
    kind, _, place = written.partition(":")
    if kind == "parquet" and place.startswith(("/", "s3://")):
        return ParquetFolder(place)
    if kind == "clickhouse":
        address = read_address(place, password or "")
        if address is not None:
            return ClickHouse(address, post)
    shown = f"{kind}:..." if "@" in place else written
    raise BadConfiguration([f"GATEWAY_EXPORT is {shown!r}; {RIGHT}"])
