"""Where documents come from: one contract, one file each."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.core.values import Value
from gateway.knowledge.document import Document
from gateway.knowledge.settings import SourceSettings

# File times move in steps of a few milliseconds: a file written this shortly before is looked at again.
SETTLED_NS = 50_000_000


class Upsert(Value, frozen=True):
    """A document that is new or may have changed; the store compares versions."""

    document: Document


class Removal(Value, frozen=True):
    """A document that is gone, by id."""

    document: str


class Fault(Value, frozen=True):
    """Something that could not be read, as a line for a person: `file:line: what is wrong`.

    The pass goes on. keeps: ids that must stay although the pass does not name them, as what stands behind
    the fault is not known; a trailing `*` keeps all ids that begin so. retry_after_seconds: how long the place
    asked to be left alone.
    """

    line: str
    keeps: str | None = None
    retry_after_seconds: float | None = None


class Mark(Value, frozen=True):
    """All changes before it are told; a later pass may begin from this cursor.

    One in mid-pass is where the pass goes on from when it is cut off after it. An empty cursor there says that it
    begins anew: what follows is all there is, whatever was told before.
    """

    cursor: str


Change = Upsert | Removal | Fault | Mark


class Connector(Protocol):
    """A source that can say what changed since a cursor."""

    def changes(self, cursor: str | None) -> AsyncIterator[Change]:
        """What changed since `cursor`, each document at most once; with None, everything there is.

        The last thing is a Mark; a pass that ends with another thing did not see its source whole, and nothing may
        be concluded from what it left out. A Mark before that is where a pass that is cut off goes on. A cursor
        that cannot be read counts as None. Does not raise for bad content.
        """
        ...


@dataclass(frozen=True, slots=True)
class Kind:
    """What a connector's file says of itself as `CONNECTOR`; its name is the `kind` of a source.

    settings: the class of its settings. make: the connector for a source; one is made for each pass.
    """

    settings: type[SourceSettings]
    make: Callable[[Any], Connector]
