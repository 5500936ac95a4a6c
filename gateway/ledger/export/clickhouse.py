"""Usage rows into ClickHouse over its HTTP insert: JSON lines, compressed, with a token against doubles."""

import asyncio
import gzip
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

import msgspec

from gateway.core.errors import GatewayError
from gateway.core.values import Value
from gateway.ledger.export.store import Column, usage_columns

EVERY_SECONDS = 5.0
KINDS = {"text": "String", "integer": "Int64", "real": "Float64", "flag": "Bool"}
# Unless a table is told to, one that is not replicated forgets which inserts it has had.
REMEMBERED_INSERTS = 1_000
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?")

log = logging.getLogger("gateway.ledger")
Post = Callable[[str, dict[str, str], bytes], Awaitable[bytes]]


class Address(Value, frozen=True):
    """Where a table is. url: scheme, host and port; table: `name` or `database.name`."""

    url: str
    table: str
    user: str
    password: str


def read_address(written: str, password: str) -> Address | None:
    """`http(s)://[user@]host[:port]/[database.]table`; None for anything else, and for a password in the URL."""
    try:
        parts = urlsplit(written)
        port = parts.port
    except ValueError:
        return None
    table = parts.path.strip("/")
    good = parts.scheme in {"http", "https"} and parts.hostname and _NAME.fullmatch(table) and not parts.query
    if not good or parts.password is not None:
        return None
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    url = f"{parts.scheme}://{host}" + (f":{port}" if port is not None else "")
    return Address(url, table, unquote(parts.username or ""), password)


def table_definition(table: str) -> str:
    """The statement that makes the table as this version fills it; of doubles of an id the engine keeps one."""
    columns = ", ".join(f"`{one.name}` {_type(one)}" for one in usage_columns())
    return (
        f"CREATE TABLE IF NOT EXISTS {table} ({columns}) ENGINE = ReplacingMergeTree "
        "PARTITION BY toYYYYMM(toDateTime(toInt64(at), 'UTC')) ORDER BY (team, at, id) "
        f"SETTINGS non_replicated_deduplication_window = {REMEMBERED_INSERTS}"
    )


def _type(column: Column) -> str:
    kind = KINDS[column.kind]
    return f"Nullable({kind})" if column.nullable else kind


class ClickHouse:
    """One table. Makes it when it is not there yet and the user may; else it must be there."""

    every_seconds = EVERY_SECONDS

    def __init__(self, address: Address, post: Post) -> None:
        self._address = address
        self._post = post
        self._is_made = False

    async def write(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Inserts a batch. Raises GatewayError when the server is away or refuses it."""
        if not self._is_made:
            await self._make()
        lines = b"\n".join(map(msgspec.json.encode, rows))
        body = await asyncio.to_thread(gzip.compress, lines, 5)
        options = {
            "query": f"INSERT INTO {self._address.table} FORMAT JSONEachRow",
            # The same token again is the same insert: of a retry whose first answer was lost nothing is added.
            "insert_deduplication_token": name,
            "insert_deduplicate": "1",
            "async_insert": "0",
            # The answer's status is that of the insert done, not of the insert begun.
            "wait_end_of_query": "1",
        }
        await self._post(self._url(options), self._headers() | {"content-encoding": "gzip"}, body)
        self._is_made = True

    async def _make(self) -> None:
        try:
            await self._post(self._url({}), self._headers(), table_definition(self._address.table).encode())
        except GatewayError as fault:
            # May be a user who may only insert; if the table is not there either, the insert says so.
            log.warning("export_table_not_made", extra={"fields": {"error": fault.message}})

    def _url(self, options: Mapping[str, str]) -> str:
        return f"{self._address.url}/?{urlencode(options)}"

    def _headers(self) -> dict[str, str]:
        if not self._address.user:
            return {}
        return {"x-clickhouse-user": self._address.user, "x-clickhouse-key": self._address.password}
