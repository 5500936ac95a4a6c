"""When Python's garbage collector looks for cycles."""

import gc

_USUAL = gc.get_threshold()
STARTING = 50_000


def begin() -> None:
    """For a start, whose objects stay.

    At the usual threshold the collector looks at them 400 times while modules are loaded: a fifth of that time.
    """
    gc.set_threshold(STARTING, *_USUAL[1:])


def settle() -> None:
    """From now on as usual. What was made up to here lives as long as the process and is not looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_USUAL)
