"""Usage rows as Parquet files, in a folder or a bucket, a folder for each UTC day (Hive's `day=2026-11-24`)."""

import asyncio
import contextlib
import importlib
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.core.clock import utc_day
from gateway.core.errors import BadConfiguration
from gateway.ledger.export.store import usage_columns

EXTRA = 'pip install "switchyard[export]"'
EVERY_SECONDS = 60.0


class ParquetFolder:
    """A folder by its absolute path, or `s3://bucket/prefix` with credentials from the environment.

    A file is there whole or not at all; written again under the same name it takes the place of the first. Raises
    BadConfiguration where pyarrow is not installed or the place cannot be understood.
    """

    every_seconds = EVERY_SECONDS

    def __init__(self, place: str) -> None:
        try:
            self._arrow: Any = importlib.import_module("pyarrow")
            self._parquet: Any = importlib.import_module("pyarrow.parquet")
            files: Any = importlib.import_module("pyarrow.fs")
        except ImportError as missing:
            raise BadConfiguration([f"GATEWAY_EXPORT: Parquet needs an extra: {EXTRA} ({missing})."]) from None
        self._is_local = place.startswith("/")
        try:
            if self._is_local:
                self._files, self._root = files.LocalFileSystem(), place.rstrip("/")
            else:
                self._files, self._root = files.FileSystem.from_uri(place.rstrip("/"))
        except (OSError, ValueError) as fault:
            raise BadConfiguration([f"GATEWAY_EXPORT: {place} cannot be used: {fault}."]) from None
        kinds = {
            "text": self._arrow.string(),
            "integer": self._arrow.int64(),
            "real": self._arrow.float64(),
            "flag": self._arrow.bool_(),
        }
        self._schema = self._arrow.schema(
            [self._arrow.field(one.name, kinds[one.kind], nullable=one.nullable) for one in usage_columns()]
        )

    async def write(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Writes `day=<day>/<name>.parquet` for each day of the rows. Raises OSError."""
        days: dict[str, list[Mapping[str, Any]]] = {}
        for row in rows:
            days.setdefault(utc_day(row["at"]).isoformat(), []).append(row)
        for day, those in days.items():
            # Compressing and a bucket's answer take longer than a call should wait.
            await asyncio.to_thread(self._write, f"{self._root}/day={day}", f"{name}.parquet", those)

    def _write(self, folder: str, name: str, rows: list[Mapping[str, Any]]) -> None:
        table = self._arrow.Table.from_pylist([dict(row) for row in rows], schema=self._schema)
        path = f"{folder}/{name}"
        if not self._is_local:
            # An object appears when its upload is complete, and not before.
            self._parquet.write_table(table, path, filesystem=self._files, compression="zstd")
            return
        self._files.create_dir(folder, recursive=True)
        # Of this write alone: a thread outlives its cancelled task, and the last export may write the same rows.
        partial = f"{path}.{uuid.uuid4().hex}.partial"
        try:
            self._parquet.write_table(table, partial, filesystem=self._files, compression="zstd")
            self._files.move(partial, path)
        except OSError:
            with contextlib.suppress(OSError):
                self._files.delete_file(partial)
            raise
