import numpy as np

from gateway.knowledge.matrix import RowCache, refreshed, write_table
from gateway.knowledge.ranking import Posting


def unit(count: int, dimension: int = 8) -> np.ndarray:
    rows = np.random.default_rng(1).standard_normal((count, dimension)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def blob(row: np.ndarray) -> bytes:
    return row.astype(np.float16).tobytes()


def test_a_refreshed_table_is_the_table_read_anew() -> None:
    rows = unit(6)
    first = refreshed(None, 1, np.array([1, 2, 3, 4]), {n: blob(rows[n]) for n in (1, 2, 3, 4)})
    second = refreshed(first, 2, np.array([2, 4, 5]), {5: blob(rows[5])})
    anew = refreshed(None, 2, np.array([2, 4, 5]), {n: blob(rows[n]) for n in (2, 4, 5)})
    assert second.ids.tolist() == anew.ids.tolist() == [2, 4, 5]
    assert np.array_equal(second.rows, anew.rows)
    assert second.version == 2


def test_a_table_can_become_empty_and_full_again() -> None:
    rows = unit(2)
    first = refreshed(None, 1, np.array([1]), {1: blob(rows[0])})
    empty = refreshed(first, 2, np.array([], np.int64), {})
    assert len(empty.ids) == 0
    again = refreshed(empty, 3, np.array([9]), {9: blob(rows[1])})
    assert again.ids.tolist() == [9]


def test_usual_cosines_tell_alike_from_unlike() -> None:
    rows = unit(50, 16)
    twins = np.concatenate([rows, rows])
    table = write_table(1, np.arange(100, dtype=np.int64), twins)
    assert table.neighbouring > 0.99
    assert table.unrelated < 0.3


def test_the_cosine_with_itself_is_one() -> None:
    rows = unit(3)
    table = write_table(1, np.arange(3, dtype=np.int64), rows)
    assert table.compare(rows[1]).cosine.argmax() == 1


def test_the_cache_lets_the_longest_unused_go() -> None:
    cache: RowCache[Posting] = RowCache(most_rows=25)
    for name in "ab":
        cache.keep(name, Posting(np.arange(10, dtype=np.int64), np.ones(10)), 10)
    assert cache.find("a") is not None
    cache.keep("c", Posting(np.arange(10, dtype=np.int64), np.ones(10)), 10)
    assert cache.find("b") is None
    assert cache.find("a") is not None
