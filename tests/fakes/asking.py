"""Passes over connectors, and what they told, for tests."""

from typing import Any

from gateway.knowledge.connectors import Change, Connector, Fault, Mark, Removal, Upsert
from gateway.knowledge.document import Document

# How places are asked in tests: as fast as they answer.
QUICK: dict[str, Any] = {"requests_per_second": 1000.0}


class Told:
    """What one pass told. cursor: None unless a mark came last."""

    def __init__(self, changes: list[Change]) -> None:
        self.changes = changes
        self.documents: dict[str, Document] = {
            change.document.id: change.document for change in changes if isinstance(change, Upsert)
        }
        self.removals = [change.document for change in changes if isinstance(change, Removal)]
        self.faults = [change for change in changes if isinstance(change, Fault)]
        self.cursor = changes[-1].cursor if changes and isinstance(changes[-1], Mark) else None

    @property
    def lines(self) -> list[str]:
        return [fault.line for fault in self.faults]


async def a_pass(connector: Connector, cursor: str | None = None) -> Told:
    return Told([change async for change in connector.changes(cursor)])


class Clock:
    """Stands still unless told."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
