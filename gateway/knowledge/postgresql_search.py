"""Searching the PostgreSQL store's tables: the same evidence as on SQLite, for the same ranking.

A word's postings come from one full-text index, restricted to the collection by a word that stands in each of its
chunks. How often a chunk holds the word is not asked of the text but read back from `ts_rank`: of one word with even
weights it is the sum of 1/k² over its occurrences. A word that more chunks hold than `most_rows` says little and
would cost much: it is looked up only in the chunks that the question's other words and its vector have found.
"""

import asyncio
from typing import Any

import msgspec
import numpy as np

from gateway.core.values import Value
from gateway.knowledge.embedders import DimensionMismatch
from gateway.knowledge.filters import Comparison, Filter
from gateway.knowledge.matrix import RowCache
from gateway.knowledge.measure import Measured, measured
from gateway.knowledge.postgresql_rows import collection_mark, plain_words, storable
from gateway.knowledge.postgresql_vectors import VectorTables, written
from gateway.knowledge.ranking import (
    POOL,
    Ids,
    Posting,
    Ranking,
    VectorEvidence,
    WordEvidence,
    best_places,
    merge_rankings,
    rank_both,
    rank_words,
    weigh_words,
)
from gateway.knowledge.stores import Ask, Probe
from gateway.knowledge.words import question_words

MOST_ROWS = 10_000
MOST_COUNTED = 200_000
CANDIDATES = 2_000
MOST_EF_SEARCH = 1_000  # What pgvector takes; an iterative scan reads on beyond it.
# Some 2 ms of work; more of it waits for a thread, so that other calls do not wait for it.
ROWS_ON_THE_LOOP = 20_000
# BM25's usual constants, which FTS5 has too.
K1, B = 1.2, 0.75
_EVEN_SCALE = 1.64493406685  # What ts_rank divides by: the sum of 1/k² over all k.
_OCCURRENCES = np.cumsum(1.0 / np.arange(1, 257) ** 2)  # A tsvector keeps 256 positions of a word.

# The chunks of a collection, by its mark ($1); those of them that hold the words of a text ($2). Texts are values
# everywhere: what a caller writes is never a query.
_WITHIN = "quote_literal($1::text)::tsquery"
_HOLDS = f"c.words @@ ({_WITHIN} && plainto_tsquery('knowledge_words', $2))"


class Scope(Value, frozen=True):
    """What restricts a search within a collection. sql: an AND-clause over `d`; "" when there is nothing."""

    sql: str
    values: tuple[Any, ...]

    @property
    def join(self) -> str:
        """The documents of chunks `c`, where they are needed."""
        return "JOIN knowledge_documents d ON d.id = c.document" if self.sql else ""


class Held(Value, frozen=True):
    """A collection as one transaction sees it. chunks, words: of what the scope lets through. whole: all its chunks."""

    number: int
    version: int
    chunks: int
    words: int
    scope: Scope
    whole: int

    @property
    def key(self) -> tuple[object, ...]:
        """Of what is kept in memory."""
        return (self.number, self.version, self.scope.sql, repr(self.scope.values))


class Searcher:
    """What is kept in memory of one database between searches. Belongs to one event loop."""

    def __init__(self, tables: VectorTables, most_rows: int = MOST_ROWS) -> None:
        self._tables = tables
        self._most_rows = most_rows
        self._postings: RowCache[Posting] = RowCache()
        self._scoped: RowCache[tuple[int, int]] = RowCache(100_000)

    async def rank(self, db: Any, ask: Ask) -> tuple[int, Ranking]:
        """The store's version, and the best chunks of the asked collections. Raises DimensionMismatch."""
        words = _looked_up(ask.text)
        version, collections = await self._held(db, ask)
        rankings = []
        for name, held in collections.items():
            evidence, vectors = await self._weighed(db, held, words, ask.probes.get(name), max(POOL, ask.limit))
            if vectors is None:
                rankings.append(rank_words(evidence, ask.limit))
            else:
                rankings.append(rank_both(evidence, vectors, ask.limit, ask.fusion))
        return version, merge_rankings(rankings, ask.limit)

    async def measure(self, db: Any, ask: Ask) -> dict[str, Measured]:
        """What each of the asked collections shows of whether it holds an answer. Raises DimensionMismatch."""
        words = _looked_up(ask.text)
        return {
            name: measured(*await self._weighed(db, held, words, ask.probes.get(name), POOL))
            for name, held in (await self._held(db, ask))[1].items()
        }

    async def _held(self, db: Any, ask: Ask) -> tuple[int, dict[str, Held]]:
        """The store's version, and the asked collections that ever held something."""
        rows = await db.fetch(
            "SELECT s.version AS store, name, number, c.version, chunks, words, EXISTS (SELECT 1 FROM "
            "knowledge_documents d WHERE d.collection = c.number AND d.readers IS NOT NULL) AS restricted "
            "FROM knowledge_state s LEFT JOIN knowledge_collections c ON c.name = ANY($1)",
            list(ask.collections),
        )
        found = {row["name"]: row for row in rows}
        held = {}
        for name in dict.fromkeys(ask.collections):
            row = found.get(name)
            if row is None:
                continue
            scope = _scope(ask, restricted=row["restricted"])
            one = Held(row["number"], row["version"], row["chunks"], row["words"], scope, row["chunks"])
            held[name] = await self._counted(db, one) if scope.sql else one
        return rows[0]["store"], held

    async def _counted(self, db: Any, held: Held) -> Held:
        counts = self._scoped.find(held.key)
        if counts is None:
            row = await db.fetchrow(
                "SELECT count(*) AS chunks, coalesce(sum(c.length), 0)::bigint AS words FROM knowledge_chunks c "  # noqa: S608
                f"{held.scope.join} WHERE c.collection = $1 {_numbered(held.scope, 2)}",
                held.number,
                *held.scope.values,
            )
            counts = (row["chunks"], row["words"])
            self._scoped.keep(held.key, counts, 1)
        return Held(held.number, held.version, counts[0], counts[1], held.scope, held.whole)

    async def _weighed(
        self, db: Any, held: Held, words: tuple[str, ...], probe: Probe | None, pool: int
    ) -> tuple[WordEvidence, VectorEvidence | None]:
        postings = await self._all_postings(db, held, words)
        rare = [posting for posting in postings.values() if posting.holding is None]
        # Common words weigh as they are common, though nobody has looked where they stand.
        evidence = await _weigh(postings, held)
        if len(rare) == len(postings):
            if probe is None:
                return evidence, None
            best = evidence.ids[best_places(evidence.ids, evidence.strength, pool)]
            return evidence, await self._near(db, held, probe, best, pool)
        near = await self._near(db, held, probe, evidence.ids[:0], pool) if probe is not None else None
        best = evidence.ids[best_places(evidence.ids, evidence.strength, CANDIDATES)]
        candidates = np.union1d(best, near.ids) if near is not None else best
        common = [word for word, posting in postings.items() if posting.holding is not None]
        for word, posting in (await self._postings_among(db, held, common, candidates)).items():
            postings[word] = Posting(posting.ids, posting.frequency, postings[word].holding)
        evidence = await _weigh(postings, held)
        if near is None or probe is None:
            return evidence, None
        best = evidence.ids[best_places(evidence.ids, evidence.strength, pool)]
        return evidence, await self._near(db, held, probe, best, pool)

    async def _all_postings(self, db: Any, held: Held, words: tuple[str, ...]) -> dict[str, Posting]:
        found = {word: self._postings.find((*held.key, word)) for word in words}
        missing = [word for word, posting in found.items() if posting is None]
        if missing:
            fresh = await self._read(db, held, missing, f"LIMIT {self._most_rows + 1}", ())
            for word in missing:
                posting = fresh[word]
                if len(posting.ids) > self._most_rows:
                    # Where it stands is asked later, of a few chunks.
                    holding = await self._holding(db, held, word)
                    posting = Posting(posting.ids[:0], posting.frequency[:0], holding)
                self._postings.keep((*held.key, word), posting, len(posting.ids))
                found[word] = posting
        return {word: posting for word, posting in found.items() if posting is not None}

    async def _postings_among(self, db: Any, held: Held, words: list[str], candidates: Ids) -> dict[str, Posting]:
        if len(candidates) < CANDIDATES:
            # Chunks that hold all the common words at once are few, and the likeliest to be meant.
            candidates = np.union1d(candidates, await self._all_common(db, held, words))
        return await self._read(db, held, words, "AND c.id = ANY({})", (candidates.tolist(),))

    async def _all_common(self, db: Any, held: Held, words: list[str]) -> Ids:
        query = (
            "SELECT c.id FROM knowledge_chunks c "  # noqa: S608 - our own names and numbered values
            f"{held.scope.join} WHERE {_HOLDS} "
            f"{_numbered(held.scope, 3)} LIMIT {CANDIDATES}"
        )
        rows = await db.fetch(query, collection_mark(held.number), " ".join(words), *held.scope.values)
        if not rows:  # Then of one: some of many that are alike.
            rows = await db.fetch(query, collection_mark(held.number), words[0], *held.scope.values)
        return np.unique(np.fromiter((row["id"] for row in rows), np.int64, len(rows)))

    async def _holding(self, db: Any, held: Held, word: str) -> int:
        query = (
            "SELECT count(*) FROM (SELECT 1 FROM knowledge_chunks c "  # noqa: S608 - our own names and numbered values
            f"{held.scope.join} WHERE {_HOLDS} "
            f"{_numbered(held.scope, 3)} LIMIT {MOST_COUNTED}) counted"
        )
        return int(await db.fetchval(query, collection_mark(held.number), word, *held.scope.values))

    async def _read(
        self, db: Any, held: Held, words: list[str], narrowed: str, values: tuple[Any, ...]
    ) -> dict[str, Posting]:
        """The postings of words. narrowed: an ending of the query, `{}` where its value stands."""
        first = 3 + len(held.scope.values)
        ending = narrowed.format(*(f"${first + place}" for place in range(len(values))))
        rows = await db.fetch(
            "SELECT asked.word, array_agg(found.id) AS ids, array_agg(found.rank) AS ranks, "  # noqa: S608 - ours
            "array_agg(found.length) AS lengths FROM unnest($2::text[]) AS asked(word) "
            "CROSS JOIN LATERAL (SELECT plainto_tsquery('knowledge_words', asked.word) AS query, "
            # OFFSET 0 keeps this apart: drawn into what is around it, the word would be read anew for each chunk.
            f"{_WITHIN} && plainto_tsquery('knowledge_words', asked.word) AS within OFFSET 0) q "
            "CROSS JOIN LATERAL (SELECT c.id, c.length, ts_rank('{1,1,1,1}', c.words, q.query) AS rank "
            f"FROM knowledge_chunks c {held.scope.join} "
            f"WHERE c.words @@ q.within {_numbered(held.scope, 3)} {ending}) found "
            "GROUP BY asked.word",
            collection_mark(held.number),
            words,
            *held.scope.values,
            *values,
        )
        found = {row["word"]: row for row in rows}
        usual = max(1.0, held.words / max(1, held.chunks))
        return {word: _posting(found.get(word), usual) for word in words}

    async def _near(self, db: Any, held: Held, probe: Probe, others: Ids, pool: int) -> VectorEvidence | None:
        """The `pool` chunks nearest to a question, and how near these others are, which the scope let through already.

        None when the embedder has seen none of the collection's.
        """
        space = await self._tables.find(db, probe.embedder)
        if space is None:
            return None
        if space.dimension != len(probe.vector):
            raise DimensionMismatch(
                f"A question of {len(probe.vector)} numbers cannot be compared with chunks of "
                f"{space.dimension}; embedder {probe.embedder!r} changed."
            )
        if await self._tables.has_graph(db, space, held.number):
            # Reads on until enough pass the scope; without it a narrow filter would get what the first hop finds.
            await db.execute("SET LOCAL hnsw.iterative_scan = strict_order")
            await db.execute(f"SET LOCAL hnsw.ef_search = {min(MOST_EF_SEARCH, 2 * pool)}")
        scope = held.scope
        chunks = f"JOIN knowledge_chunks c ON c.id = v.chunk {scope.join}" if scope.sql else ""
        # A value of this type, not a text that is cast: a plan that is kept would read the text for every row.
        asked = f"$1::halfvec({space.dimension})"
        rows = await db.fetch(
            # The number stands in the text: the planner knows a collection's own graph by it.
            f"(SELECT v.chunk, v.vector <=> {asked} AS distance FROM {space.table} v {chunks} "  # noqa: S608 - ours
            f"WHERE v.collection = {held.number} {_numbered(scope, 3)} ORDER BY distance LIMIT {pool}) "
            f"UNION SELECT chunk, vector <=> {asked} FROM {space.table} WHERE chunk = ANY($2)",
            written(probe.vector),
            others.tolist(),
            *scope.values,
        )
        if not rows:
            return None
        unrelated, neighbouring = await self._tables.usual(db, space, held.number, held.whole)
        ids = np.fromiter((row["chunk"] for row in rows), np.int64, len(rows))
        cosine = 1 - np.fromiter((row["distance"] for row in rows), np.float32, len(rows))
        order = np.argsort(ids, kind="stable")
        return VectorEvidence(ids[order], cosine[order], unrelated, neighbouring)


async def _weigh(postings: dict[str, Posting], held: Held) -> WordEvidence:
    found = list(postings.values())
    if sum(len(posting.ids) for posting in found) <= ROWS_ON_THE_LOOP:
        return weigh_words(found, held.chunks)
    return await asyncio.to_thread(weigh_words, found, held.chunks)


def _looked_up(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(plain for word in question_words(text) if (plain := plain_words(word))))


def _posting(row: Any, usual_length: float) -> Posting:
    if row is None:
        return Posting(np.empty(0, np.int64), np.empty(0))
    ids = np.array(row["ids"], np.int64)
    order = np.argsort(ids, kind="stable")
    ranks = np.array(row["ranks"], np.float64)[order] * _EVEN_SCALE
    lengths = np.array(row["lengths"], np.float64)[order]
    # The nearest of the sums that 1, 2, 3 ... occurrences give.
    places = np.clip(np.searchsorted(_OCCURRENCES, ranks), 1, len(_OCCURRENCES) - 1)
    nearer = ranks - _OCCURRENCES[places - 1] < _OCCURRENCES[places] - ranks
    times = np.where(nearer, places, places + 1).astype(np.float64)
    frequency = times * (K1 + 1) / (times + K1 * (1 - B + B * lengths / usual_length))
    return Posting(ids[order], frequency)


def _scope(ask: Ask, *, restricted: bool) -> Scope:
    """What the team may read and the filter lets through, as SQL over `d`. Values are numbered later."""
    values: list[Any] = []
    parts = []
    if restricted:
        parts.append("(d.readers IS NULL OR {} = ANY(d.readers))")
        values.append(ask.team)
    if ask.filter is not None:
        parts.append(_filter_sql(ask.filter, values))
    return Scope("".join(f" AND {part}" for part in parts), tuple(values))


def _numbered(scope: Scope, first: int) -> str:
    """The clause with its values numbered from `first`."""
    return scope.sql.format(*(f"${first + place}" for place in range(len(scope.values))))


def _filter_sql(wanted: Filter, values: list[Any]) -> str:
    """The filter with `{}` for each value; it means what `filters.matches` means."""
    if not isinstance(wanted, Comparison):
        joined = f" {wanted.type.upper()} ".join(_filter_sql(one, values) for one in wanted.filters)
        return f"({joined})" if joined else ("true" if wanted.type == "and" else "false")
    values.append(storable(wanted.key))
    if isinstance(wanted.value, tuple):
        values.extend((storable(wanted.key), [_json(value) for value in wanted.value]))
        compared = "= ANY" if wanted.type == "in" else "<> ALL"
        return f"(d.attributes ? {{}}::text AND d.attributes -> {{}}::text {compared} ({{}}::text[]::jsonb[]))"
    if wanted.type in {"eq", "ne"}:
        values.append(_json(wanted.value))
        return f"d.attributes -> {{}}::text {'=' if wanted.type == 'eq' else '<>'} {{}}::text::jsonb"
    sign = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}[wanted.type]
    if isinstance(wanted.value, bool):
        values.pop()
        return "false"
    values.extend((storable(wanted.key), wanted.value if isinstance(wanted.value, str) else float(wanted.value)))
    if isinstance(wanted.value, str):
        # Text is in the order of its code points, whatever language the server sorts by.
        order = f'(d.attributes ->> {{}}::text) COLLATE "C" {sign} {{}}::text'
        return f"(jsonb_typeof(d.attributes -> {{}}::text) = 'string' AND {order})"
    # A CASE, and not an AND: the order of an AND's parts is the planner's, and a text is no number.
    number = f"(d.attributes ->> {{}}::text)::float8 {sign} {{}}::float8"
    return f"CASE WHEN jsonb_typeof(d.attributes -> {{}}::text) = 'number' THEN {number} ELSE false END"


def _json(value: object) -> str:
    return storable(msgspec.json.encode(value).decode()).replace("\\u0000", "\\ufffd")
