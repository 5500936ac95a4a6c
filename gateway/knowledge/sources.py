"""The connectors there are, by kind: each file in `connectors/` is one."""

from gateway.core.discovery import members
from gateway.knowledge import connectors
from gateway.knowledge.connectors import Connector, Kind
from gateway.knowledge.settings import SourceSettings

KINDS = {name: kind for name, kind in members(connectors, "CONNECTOR").items() if isinstance(kind, Kind)}


def connector_of(source: SourceSettings) -> Connector:
    """A connector for one pass over a source."""
    return KINDS[source.kind].make(source)


def is_polled(source: SourceSettings) -> bool:
    """Whether a source is asked now and then, and not watched."""
    return source.every_seconds is not None
