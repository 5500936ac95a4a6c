"""Documents of the PostgreSQL store one by one, as a team may see them."""

from typing import Any

import msgspec

from gateway.core.facts import AttributeValue
from gateway.knowledge.postgresql_rows import storable
from gateway.knowledge.stores import Kept, Listing

_READABLE = (
    "FROM knowledge_documents d JOIN knowledge_collections n ON n.number = d.collection WHERE n.name = $1 "
    "AND (d.readers IS NULL OR $2 = ANY(d.readers))"
)
# Ids sort by their bytes, whatever the database's language is.
_NAME = 'd.name COLLATE "C"'


async def list_documents(db: Any, asked: Listing) -> tuple[Kept, ...]:
    """See Store.listed. db: a connection in a read transaction."""
    query, values = _READABLE, [asked.collection, asked.team]
    if asked.document is not None:
        values.append(storable(asked.document))
        query += f" AND d.name = ${len(values)}"
    if asked.after is not None:
        values.append(storable(asked.after))
        query += f" AND {_NAME} {'<' if asked.descends else '>'} ${len(values)}"
    order = "DESC" if asked.descends else "ASC"
    rows = await db.fetch(
        f"SELECT DISTINCT ON ({_NAME}) d.name, d.title, d.filename, d.version, d.attributes, "  # noqa: S608 - our own names
        "(SELECT coalesce(sum(octet_length(c.text)), 0) FROM knowledge_chunks c WHERE c.document = d.id) AS size "
        f"{query} ORDER BY {_NAME} {order} LIMIT {int(asked.limit)}",
        *values,
    )
    return tuple(_kept(row) for row in rows)


async def read_texts(db: Any, collection: str, team: str, document: str) -> tuple[str, ...]:
    """See Store.texts. db: a connection in a read transaction."""
    found = await db.fetchval(
        f"SELECT d.id {_READABLE} AND d.name = $3 LIMIT 1",
        collection,
        team,
        storable(document),
    )
    rows = await db.fetch("SELECT text FROM knowledge_chunks WHERE document = $1 ORDER BY ordinal", found)
    return tuple(row["text"] for row in rows)


def _kept(row: Any) -> Kept:
    attributes = msgspec.json.decode(row["attributes"], type=dict[str, AttributeValue])
    ordered = tuple(sorted(attributes.items()))
    return Kept(row["name"], row["title"], row["filename"], row["version"], ordered, int(row["size"]))
