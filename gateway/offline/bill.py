"""The offline upstream's own books, against which the gateway's are checked."""

import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from gateway.core.values import Value

# The file keeps every row; memory keeps the newest.
MAX_ROWS_HELD = 200_000
DAY_SECONDS = 86_400

Outcome = Literal["ok", "caller_left", "truncated", "interrupted"]


class Row(Value, frozen=True):
    """One request that was counted. completion_tokens: those that were made before it ended.

    attempt: the value of the request's `x-client-request-id` header, '' without one.
    """

    id: str
    model: str
    endpoint: str
    prompt_tokens: int
    completion_tokens: int
    stream: bool
    outcome: Outcome
    attempt: str = ""


class Bill:
    """Rows in memory and, when a path is given, one JSON line each in a file that is only appended to.

    Sums by UTC day, endpoint and model are kept of all of them.
    """

    def __init__(self, path: Path | None = None, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._file = None if path is None else os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.reset()

    def add(self, row: Row) -> None:
        """Books a row. When this returns, the line stands in the file; no await can come between."""
        if self._file is not None:
            os.write(self._file, msgspec.json.encode(row) + b"\n")
        self._rows.append(row)
        self._count += 1
        self._prompt_tokens += row.prompt_tokens
        self._completion_tokens += row.completion_tokens
        day = int(self._wall() // DAY_SECONDS) * DAY_SECONDS
        sums = self._days.setdefault((day, row.endpoint, row.model), (0, 0, 0))
        self._days[day, row.endpoint, row.model] = (
            sums[0] + 1,
            sums[1] + row.prompt_tokens,
            sums[2] + row.completion_tokens,
        )

    def by_day(self) -> Mapping[tuple[int, str, str], tuple[int, int, int]]:
        """Requests, tokens in and tokens out, by the Unix time at which the day began, the endpoint and the model."""
        return self._days

    def reset(self) -> None:
        """Forgets the rows in memory; the file is left as it is."""
        self._rows: deque[Row] = deque(maxlen=MAX_ROWS_HELD)
        self._count = 0
        self._prompt_tokens = 0
        self._completion_tokens = 0
        self._days: dict[tuple[int, str, str], tuple[int, int, int]] = {}

    def summary(self) -> dict[str, object]:
        """Totals over all rows since the last reset, and the rows (the newest, if there were very many)."""
        return {
            "count": self._count,
            "prompt_tokens": self._prompt_tokens,
            "completion_tokens": self._completion_tokens,
            "rows": list(self._rows),
        }

    def close(self) -> None:
        """Closes the file, if any."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
