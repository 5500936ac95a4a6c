"""What is done to the rows of the PostgreSQL store, in a transaction that the store began."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.core.values import Value
from gateway.knowledge.chunks import CHUNKER, Chunk
from gateway.knowledge.document import Document
from gateway.knowledge.stores import Entry, Pass, Put

_APART = re.compile(r"[\W_]+")


class Change(Value, frozen=True):
    """How many more chunks, and words in them, a collection has than before."""

    chunks: int = 0
    words: int = 0


def storable(text: str) -> str:
    """The text as PostgreSQL can hold it: no NUL, no half of a surrogate pair."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def plain_words(text: str) -> str:
    """A text's words in lower case and without accents, a space between two: as SQLite's tokenizer sees them.

    What PostgreSQL's parser would take for an address, a path or a tag is cut into words too.
    """
    if not text.isascii():
        decomposed = unicodedata.normalize("NFD", text)
        text = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return _APART.sub(" ", storable(text).lower()).strip()


async def make_place(db: Any, collection: str) -> int:
    """The number of a collection, given out when it is new; it is locked until the transaction ends."""
    query = "SELECT number FROM knowledge_collections WHERE name = $1 FOR UPDATE"
    number = await db.fetchval(query, collection)
    if number is None:
        # Of two that make it at once, the second waits for the first, and then finds it.
        await db.execute("INSERT INTO knowledge_collections (name) VALUES ($1) ON CONFLICT DO NOTHING", collection)
        number = await db.fetchval(query, collection)
    return int(number)


async def mark_changed(db: Any, number: int, change: Change, source: str | None) -> None:
    """Raises the version by one, and counts what the collection holds. source: forgets its cursor; see SQLite's."""
    await db.execute(
        "WITH raised AS (UPDATE knowledge_state SET version = version + 1 RETURNING version) "
        "UPDATE knowledge_collections SET version = raised.version, chunks = chunks + $2, words = words + $3 "
        "FROM raised WHERE number = $1",
        number,
        change.chunks,
        change.words,
    )
    if source is not None:
        query = "UPDATE knowledge_sources SET cursor = NULL WHERE collection = $1 AND key = $2 AND cursor IS NOT NULL"
        await db.execute(query, number, source)


async def begin_pass(db: Any, number: int, source: str, *, anew: bool) -> Pass:
    """The pass that is due over a source; see Store.begin."""
    found = await db.fetchrow(
        "SELECT cursor, mark, number, is_census FROM knowledge_sources WHERE collection = $1 AND key = $2",
        number,
        source,
    )
    cursor, mark, before, was_census = found or (None, None, 0, False)
    if mark is not None and not anew:
        return Pass(before, mark, is_census=was_census)
    if cursor is not None and not anew:
        return Pass(before, cursor, is_census=False)
    await db.execute(
        "INSERT INTO knowledge_sources (collection, key, number, is_census) VALUES ($1, $2, $3, true) "
        "ON CONFLICT (collection, key) DO UPDATE SET mark = NULL, cursor = NULL, number = $3, is_census = true",
        number,
        source,
        before + 1,
    )
    return Pass(before + 1, None, is_census=True)


async def put_entries(db: Any, number: int, source: str, entries: Sequence[Entry], named: int) -> tuple[Put, ...]:
    """Writes documents with their chunks; no id twice."""
    names = [storable(entry.document.id) for entry in entries]
    there = {
        row["name"]: row
        for row in await db.fetch(
            "SELECT id, name, version, chunker, named FROM knowledge_documents "
            "WHERE collection = $1 AND source = $2 AND name = ANY($3)",
            number,
            source,
            names,
        )
    }
    done: list[Put] = []
    fresh: list[Entry] = []
    for name, entry in zip(names, entries, strict=True):
        old = there.get(name)
        if old is not None and (old["version"], old["chunker"]) == (entry.document.version, CHUNKER):
            done.append("unchanged")
        else:
            done.append("added" if old is None else "updated")
            fresh.append(entry)
    changed = {storable(entry.document.id) for entry in fresh}
    stamped = [row["id"] for name, row in there.items() if name not in changed and row["named"] < named]
    if stamped:
        await db.execute("UPDATE knowledge_documents SET named = $1 WHERE id = ANY($2)", named, stamped)
    if fresh:
        ids = await _put_documents(db, number, source, [entry.document for entry in fresh], named)
        old_ids = [row["id"] for name, row in there.items() if name in changed]
        chunks = {ids[storable(entry.document.id)]: entry.chunks for entry in fresh}
        await mark_changed(db, number, await _replace_chunks(db, number, chunks, old_ids), source)
    return tuple(done)


async def _put_documents(
    db: Any, number: int, source: str, documents: Sequence[Document], named: int
) -> dict[str, int]:
    columns: list[list[str | None]] = [[] for _ in range(7)]
    for document in documents:
        attributes = msgspec.json.encode(dict(document.attributes)).decode().replace("\\u0000", "\\ufffd")
        readers = None if document.readers is None else storable(msgspec.json.encode(document.readers).decode())
        url = None if document.url is None else storable(document.url)
        texts = (document.id, document.title, url, document.version, document.filename, attributes, readers)
        for column, value in zip(columns, texts, strict=True):
            column.append(None if value is None else storable(value))
    rows = await db.fetch(
        "INSERT INTO knowledge_documents (collection, source, name, title, url, version, filename, attributes, "
        "readers, chunker, named) SELECT $1, $2, name, title, url, version, filename, attributes::jsonb, "
        "CASE WHEN readers IS NOT NULL THEN ARRAY(SELECT jsonb_array_elements_text(readers::jsonb)) END, $3, $4 "
        "FROM unnest($5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[]) "
        "AS given(name, title, url, version, filename, attributes, readers) "
        "ON CONFLICT (collection, source, name) DO UPDATE SET title = excluded.title, url = excluded.url, "
        "version = excluded.version, filename = excluded.filename, attributes = excluded.attributes, "
        "readers = excluded.readers, chunker = excluded.chunker, "
        "named = greatest(knowledge_documents.named, excluded.named) RETURNING id, name",
        number,
        source,
        CHUNKER,
        named,
        *columns,
    )
    return {row["name"]: row["id"] for row in rows}


async def _replace_chunks(db: Any, number: int, chunks: dict[int, tuple[Chunk, ...]], old: Sequence[int]) -> Change:
    """Makes these the chunks of the documents. One whose hash was there before keeps its row, and so its vector."""
    kept: defaultdict[tuple[int, str], list[Any]] = defaultdict(list)
    before: Sequence[Any] = ()
    if old:
        query = "SELECT id, document, hash, length FROM knowledge_chunks WHERE document = ANY($1) ORDER BY id DESC"
        before = await db.fetch(query, list(old))
    for row in before:
        kept[row["document"], row["hash"]].append(row)
    moved: list[tuple[int, int]] = []
    fresh: list[tuple[int, Chunk]] = []
    for document, wanted in chunks.items():
        for chunk in wanted:
            if kept[document, chunk.hash]:
                moved.append((kept[document, chunk.hash].pop()["id"], chunk.ordinal))
            else:
                fresh.append((document, chunk))
    gone = [row for rows in kept.values() for row in rows]
    if moved:
        query = (
            "UPDATE knowledge_chunks c SET ordinal = m.ordinal FROM unnest($1::bigint[], $2::int[]) AS m(id, ordinal) "
            "WHERE c.id = m.id AND c.ordinal <> m.ordinal"
        )
        await db.execute(query, [one[0] for one in moved], [one[1] for one in moved])
    if gone:
        await db.execute("DELETE FROM knowledge_chunks WHERE id = ANY($1)", [row["id"] for row in gone])
    added = await _add_chunks(db, number, fresh) if fresh else 0
    return Change(len(fresh) - len(gone), added - sum(row["length"] for row in gone))


async def _add_chunks(db: Any, number: int, fresh: Sequence[tuple[int, Chunk]]) -> int:
    plain = [plain_words(f"{chunk.path} {chunk.text}") for _, chunk in fresh]
    lengths = [words.count(" ") + bool(words) for words in plain]
    await db.execute(
        "INSERT INTO knowledge_chunks (collection, document, ordinal, path, text, hash, tokens, length, words) "
        "SELECT $1, document, ordinal, path, text, hash, tokens, length, "
        "to_tsvector('knowledge_words', plain) || array_to_tsvector(ARRAY[$2::text]) "
        "FROM unnest($3::bigint[], $4::int[], $5::text[], $6::text[], $7::text[], $8::int[], $9::int[], $10::text[]) "
        "AS given(document, ordinal, path, text, hash, tokens, length, plain)",
        number,
        collection_mark(number),
        [document for document, _ in fresh],
        [chunk.ordinal for _, chunk in fresh],
        [storable(chunk.path) for _, chunk in fresh],
        [storable(chunk.text) for _, chunk in fresh],
        [chunk.hash for _, chunk in fresh],
        [chunk.tokens for _, chunk in fresh],
        lengths,
        plain,
    )
    return sum(lengths)


def collection_mark(number: int) -> str:
    """A word that no text has, in every chunk of a collection: one index finds words within one collection."""
    return f"collection:{number}"


async def drop_documents(db: Any, ids: Sequence[int]) -> Change:
    """Removes documents with their chunks and vectors."""
    row = await db.fetchrow(
        "WITH gone AS (DELETE FROM knowledge_chunks WHERE document = ANY($1) RETURNING length) "
        "SELECT count(*) AS chunks, coalesce(sum(length), 0) AS words FROM gone",
        list(ids),
    )
    await db.execute("DELETE FROM knowledge_documents WHERE id = ANY($1)", list(ids))
    return Change(-row["chunks"], -int(row["words"]))
