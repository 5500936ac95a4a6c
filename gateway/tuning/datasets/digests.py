"""Rows by their digests: eight bytes each, for exact duplicates, equal prompts, and what belongs together."""

import hashlib
import json
from collections.abc import Iterable
from functools import lru_cache

import msgspec

from gateway.tuning.datasets.rows import SYSTEM, Row, Turn
from gateway.tuning.datasets.sketches import normal

_encoder = msgspec.json.Encoder(order="sorted")


def canonical(data: object) -> bytes:
    """A row as canonical JSON: sorted keys, no spaces, UTF-8 as it is."""
    try:
        return _encoder.encode(data)
    except UnicodeEncodeError:
        # Half a surrogate pair has no UTF-8; its escape is kept.
        return json.dumps(data, sort_keys=True, separators=(",", ":")).encode()


def digest(data: bytes) -> int:
    """Eight bytes of BLAKE2b as an integer; two of a million rows meet by chance once in 37 million files."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def turns_digest(turns: Iterable[Turn]) -> int:
    """Of what the messages say, call and are; not of weights, names and how much space there is."""
    return said_digest(map(said, turns))


def said_digest(parts: Iterable[bytes]) -> int:
    """The same of messages as `said` gives them."""
    return digest(b"\0\0".join(parts))


def group_digest(row: Row) -> int:
    """Of the first thing a user says: rows of one conversation share it."""
    first = next((turn for turn in row.turns if turn.role == "user"), None)
    return turns_digest(row.turns if first is None else (first,))


def gist(row: Row) -> bytes:
    """What a row is about, for comparing: everything but system prompts, which many rows share."""
    return b"\n".join(said(turn) for turn in (*row.turns, *row.chosen) if turn.role not in SYSTEM)


@lru_cache(maxsize=32)
def _normal_prompt(text: str) -> bytes:
    return normal(text)


def said(turn: Turn) -> bytes:
    """One message: who, and what is said and called; two that differ only in space and case are the same."""
    # A system prompt stands in every row.
    words = _normal_prompt(turn.text) if turn.role in SYSTEM else normal(turn.text)
    content = turn.message.get("content")
    if turn.calls or "function_call" in turn.message or isinstance(content, list):
        # Images and calls have no text of their own, and tell rows apart.
        words += canonical([turn.message.get("tool_calls"), turn.message.get("function_call"), content])
    return turn.role.encode("utf-8", "replace") + b"\0" + words
