"""Documents of the SQLite store one by one, as a team may see them."""

import sqlite3

from gateway.knowledge.sqlite_rows import read_attributes
from gateway.knowledge.stores import Kept, Listing

_READABLE = (
    "FROM documents d JOIN collections n ON n.number = d.collection WHERE n.name = ? "
    "AND (d.readers IS NULL OR EXISTS (SELECT 1 FROM json_each(d.readers) WHERE json_each.value = ?))"
)


def list_documents(db: sqlite3.Connection, asked: Listing) -> tuple[Kept, ...]:
    """See Store.listed."""
    query, values = _READABLE, [asked.collection, asked.team]
    if asked.document is not None:
        query, values = f"{query} AND d.name = ?", [*values, asked.document]
    if asked.after is not None:
        query, values = f"{query} AND d.name {'<' if asked.descends else '>'} ?", [*values, asked.after]
    order = "DESC" if asked.descends else "ASC"
    rows = db.execute(
        "SELECT d.name, d.title, d.filename, d.version, d.attributes, "  # noqa: S608 - only `?` marks
        "(SELECT coalesce(sum(length(CAST(c.text AS BLOB))), 0) FROM chunks c WHERE c.document = d.id) "
        f"{query} GROUP BY d.name ORDER BY d.name {order} LIMIT ?",
        (*values, asked.limit),
    )
    return tuple(
        Kept(name, title, filename, version, read_attributes(attributes), size)
        for name, title, filename, version, attributes, size in rows
    )


def read_texts(db: sqlite3.Connection, collection: str, team: str, document: str) -> tuple[str, ...]:
    """See Store.texts."""
    found = db.execute(f"SELECT d.id {_READABLE} AND d.name = ? LIMIT 1", (collection, team, document)).fetchone()
    if found is None:
        return ()
    rows = db.execute("SELECT text FROM chunks WHERE document = ? ORDER BY ordinal", found)
    return tuple(row[0] for row in rows)
