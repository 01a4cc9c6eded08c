"""How the memory of a CPU is spent: freed blocks are taken again, and kernels for shapes that have gone are let go."""

from __future__ import annotations

import ctypes
import os

# Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3

_KEPT_BYTES = 2**31 - 1  # free memory at the top of the heap that is not given back
_LARGEST_BLOCKS = (2**30, 2**25)  # that come from the heap; not every release of glibc takes more than 32 MiB

# Of oneDNN itself and of PyTorch before it, each for 1,024 kernels by default. An update of the base model has 50.
_KERNEL_CACHES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
_KEPT_KERNELS = 128  # never 0, at which PyTorch 2.13 crashes


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


def keep_few_kernels() -> None:
    """Have oneDNN and PyTorch remember the kernels of the last products alone; to be called before the first product.

    oneDNN writes a kernel for each shape of a product, 0.3 MiB in small blocks. Batches have hundreds of shapes, so
    that two caches of 1,024 fill for hundreds of updates with what is seldom met again; and their blocks, strewn over
    the heap, keep free ones from being joined. After 120 updates of experiment=cnn_dailymail_cpu 0.65 GB were in use
    between two updates, and 1.9 held; with few kernels 0.31 after 10 as after 300, and 1.4 held. To write a kernel anew
    took no time that could be measured. What the user has set stays.
    """
    for name in _KERNEL_CACHES:
        os.environ.setdefault(name, str(_KEPT_KERNELS))
