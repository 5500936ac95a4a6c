"""Which store a deployment uses."""

from gateway.core.settings import Settings
from gateway.knowledge.stores import Store
from gateway.knowledge.stores.postgresql import PostgresqlStore
from gateway.knowledge.stores.sqlite import SqliteStore


def open_store(settings: Settings) -> Store:
    """The database at hand when that is PostgreSQL, else a file in the data folder; the settings can say otherwise."""
    if settings.has_knowledge_in_database:
        return PostgresqlStore(settings.database_url)
    return SqliteStore(settings.data / "knowledge.db")
