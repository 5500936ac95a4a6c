"""Searching the SQLite store's tables: postings, vectors and rights of one read transaction."""

import math
import sqlite3

import numpy as np

from gateway.knowledge.embedders import DimensionMismatch
from gateway.knowledge.filters import matches
from gateway.knowledge.matrix import RowCache, VectorTable, refreshed
from gateway.knowledge.measure import Measured, measured
from gateway.knowledge.ranking import (
    Ids,
    Posting,
    Ranking,
    VectorEvidence,
    WordEvidence,
    merge_rankings,
    rank_both,
    rank_words,
    weigh_words,
)
from gateway.knowledge.sqlite_rows import Place, find_place, read_attributes, read_readers
from gateway.knowledge.sqlite_words import words_table
from gateway.knowledge.stores import Ask, Probe
from gateway.knowledge.words import question_words


class Searcher:
    """What is kept in memory of one file between searches. Safe to share by threads."""

    def __init__(self) -> None:
        self._postings: RowCache[Posting] = RowCache()
        self._permitted: RowCache[Ids] = RowCache()
        self._tables: dict[tuple[int, str], VectorTable] = {}

    def rank(self, db: sqlite3.Connection, ask: Ask) -> Ranking:
        """The best chunks of the asked collections. Raises DimensionMismatch."""
        words = question_words(ask.text)
        rankings = []
        for name in dict.fromkeys(ask.collections):
            place = find_place(db, name)
            if place is None:
                continue
            evidence, vectors = self._weighed(db, place, words, ask.probes.get(name), ask)
            if vectors is None:
                rankings.append(rank_words(evidence, ask.limit))
            else:
                rankings.append(rank_both(evidence, vectors, ask.limit, ask.fusion))
        return merge_rankings(rankings, ask.limit)

    def measure(self, db: sqlite3.Connection, ask: Ask) -> dict[str, Measured]:
        """What each of the asked collections shows of whether it holds an answer. Raises DimensionMismatch."""
        words = question_words(ask.text)
        return {
            name: measured(*self._weighed(db, place, words, ask.probes.get(name), ask))
            for name in dict.fromkeys(ask.collections)
            if (place := find_place(db, name)) is not None
        }

    def _weighed(
        self, db: sqlite3.Connection, place: Place, words: tuple[str, ...], probe: Probe | None, ask: Ask
    ) -> tuple[WordEvidence, VectorEvidence | None]:
        # The rights come first, and all below sees only what they let through: neither the order nor a score nor
        # a word's rarity knows of the rest.
        permitted = self._permitted_ids(db, place, ask)
        postings = [self._posting(db, place, word).within(permitted) for word in words]
        evidence = weigh_words(postings, place.chunks if permitted is None else len(permitted))
        if probe is None:
            return evidence, None
        table = self._table(db, place, probe.embedder)
        if not len(table.ids):
            return evidence, None
        if table.rows.shape[1] != len(probe.vector):
            raise DimensionMismatch(
                f"A question of {len(probe.vector)} numbers cannot be compared with chunks of "
                f"{table.rows.shape[1]}; embedder {probe.embedder!r} changed."
            )
        vectors = table.compare(probe.vector, permitted)
        return evidence, vectors if len(vectors.ids) else None

    def _permitted_ids(self, db: sqlite3.Connection, place: Place, ask: Ask) -> Ids | None:
        """The chunks of documents that the team may read and the filter lets through, ascending; None: all."""
        restricted = "SELECT 1 FROM documents WHERE collection = ? AND readers IS NOT NULL LIMIT 1"
        if ask.filter is None and db.execute(restricted, (place.number,)).fetchone() is None:
            return None
        # As text: to a dict, a filter for `true` and one for 1 are the same.
        key = (place.number, place.version, ask.team, repr(ask.filter))
        found = self._permitted.find(key)
        if found is None:

            def permits(attributes: str, readers: str | None) -> bool:
                teams = read_readers(readers)
                if teams is not None and ask.team not in teams:
                    return False
                return ask.filter is None or matches(ask.filter, read_attributes(attributes))

            db.create_function("permits", 2, permits)
            rows = db.execute(
                "SELECT c.id FROM documents d JOIN chunks c ON c.document = d.id "
                "WHERE d.collection = ? AND permits(d.attributes, d.readers) ORDER BY c.id",
                (place.number,),
            ).fetchall()
            found = np.fromiter((row[0] for row in rows), np.int64, len(rows))
            self._permitted.keep(key, found, len(found))
        return found

    def _posting(self, db: sqlite3.Connection, place: Place, word: str) -> Posting:
        key = (place.number, place.version, word)
        found = self._postings.find(key)
        if found is None:
            found = _read_posting(db, place, word)
            self._postings.keep(key, found, len(found.ids))
        return found

    def _table(self, db: sqlite3.Connection, place: Place, embedder: str) -> VectorTable:
        key = (place.number, embedder)
        old = self._tables.get(key)
        if old is not None and old.version == place.version:
            return old
        within = (embedder, place.low, place.high)
        where = "FROM vectors WHERE embedder = ? AND chunk BETWEEN ? AND ?"
        rows = db.execute(f"SELECT chunk {where}", within).fetchall()
        ids = np.fromiter((row[0] for row in rows), np.int64, len(rows))
        added: dict[int, bytes] = {}
        if old is None or not len(old.ids):
            added = dict(db.execute(f"SELECT chunk, vector {where}", within))
        else:
            for chunk in np.setdiff1d(ids, old.ids):
                one = "SELECT vector FROM vectors WHERE embedder = ? AND chunk = ?"
                added[int(chunk)] = db.execute(one, (embedder, int(chunk))).fetchone()[0]
        fresh = refreshed(old, place.version, ids, added)
        # Two threads may both build it; a reader of an older moment must not put its table over a newer one.
        newest = self._tables.get(key)
        if newest is None or newest.version < fresh.version:
            self._tables[key] = fresh
        if not len(ids):
            self._tables.pop(key, None)
        return fresh


def _read_posting(db: sqlite3.Connection, place: Place, word: str) -> Posting:
    """A word's chunks in a collection. FTS5 gives rarity x frequency; its rarity is divided out.

    The ranking has a rarity of its own, which counts only what the caller may read.
    """
    if not place.chunks:  # Nor is there a table.
        return Posting(np.empty(0, np.int64), np.empty(0))
    table = words_table(place.number)
    rows = db.execute(
        f"SELECT rowid - ?, -bm25({table}) FROM {table} WHERE {table} MATCH ? ORDER BY rowid",  # noqa: S608 - our name
        (place.low, f'"{word}"'),
    ).fetchall()
    if not rows:
        return Posting(np.empty(0, np.int64), np.empty(0))
    # FTS5's own formula, floor included: fts5_aux.c, fts5Bm25GetData.
    rarity = math.log((place.chunks - len(rows) + 0.5) / (len(rows) + 0.5))
    found = np.array(rows, np.float64)
    return Posting(found[:, 0].astype(np.int64) + place.low, found[:, 1] / (rarity if rarity > 0 else 1e-6))
