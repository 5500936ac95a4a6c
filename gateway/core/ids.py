"""Identifiers: a prefix, the millisecond, and 80 random bits; they sort by time."""

import os
import time


def new_id(prefix: str) -> str:
    """A fresh id such as `call_0193c5f2a1b0c0ffee...`: 12 hex digits of Unix milliseconds, 20 random."""
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"
