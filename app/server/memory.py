"""Process-wide memory settings: the C library's allocator, and Python's garbage collector.

By default glibc returns large blocks to the kernel at once. A process that serves photographs then has the kernel map
and clear the same megabytes for each photograph, which costs a third of the CPU time of a request.

Python's garbage collector examines all objects regularly, nine tenths of which are modules, routes and schemas that
live as long as the process. Nothing else runs meanwhile, the event loop included.
"""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Mapping

# Parameters of malloc.h. glibc accepts no larger threshold. Larger blocks, which only images near the pixel limit need,
# are returned to the kernel.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BLOCK_BYTES = 32 * 1024 * 1024
_KEPT_BYTES = 32 * 1024 * 1024  # at the top of the heap of each thread
_OPERATOR_VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD")


def tune_allocator(environment: Mapping[str, str] = os.environ) -> bool:
    """Make the C library keep freed blocks of up to 32 MiB. Call this before threads start.

    Args:
        environment: Process environment. If the operator configures an allocator in it, nothing changes.

    Returns:
        True if the thresholds were set; False also if the C library is not glibc.

    Reference:
        mallopt(3).
    """
    if any(name in environment for name in _OPERATOR_VARIABLES):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _KEPT_BLOCK_BYTES) and mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES))


def freeze_garbage_collector() -> None:
    """Exclude all present objects from garbage collection. Call this once, when the server has started.

    Reference counting still frees the objects. Only frozen objects in reference cycles stay in memory.

    Reference:
        gc.freeze.
    """
    gc.collect()
    gc.freeze()
