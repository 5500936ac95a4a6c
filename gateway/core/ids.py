"""Identifiers: a prefix, the millisecond, this process, and a count; they sort by time."""

import itertools
import os
import time

# How ids of vector stores begin: collections that callers made over the API.
VECTOR_STORE = "vs"
MADE = f"{VECTOR_STORE}_"

# Drawn once a process: drawing anew for each id took a twelfth of a call's time. Ids name things, they open nothing.
_PROCESS = os.urandom(5).hex()
_count = itertools.count(int.from_bytes(os.urandom(3), "big"))


def new_id(prefix: str) -> str:
    """A fresh id such as `call_0193c5...`: hex digits of the Unix millisecond (12), the process (10), a count (10)."""
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{_PROCESS}{next(_count) & 0xFFFFFFFFFF:010x}"
