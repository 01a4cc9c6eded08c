"""How the memory of large tensors on a CPU is got: from what was freed before, and not from the system each time."""

from __future__ import annotations

import ctypes

# Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3

_KEPT_BYTES = 2**31 - 1  # free memory at the top of the heap that is not given back
_LARGEST_BLOCKS = (2**30, 2**25)  # that come from the heap; not every release of glibc takes more than 32 MiB


def keep_freed_memory() -> bool:
    """Have glibc keep what is freed. By default it gives blocks of some 30 MiB back to the system at once, which
    clears every page of what it hands out: a twentieth of the time of training. The process then never shrinks.

    Returns whether the C library is one that can be asked.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # no library of that kind, or one without this function
        return False
    # In this order: the second alone would set the first to a value far below its default.
    return any(mallopt(_MMAP_THRESHOLD, size) for size in _LARGEST_BLOCKS) and bool(
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
    )
