"""How memory is kept: what a large picture took stays for the next one, and what start-up made is not looked at again.

glibc gives large blocks back to the kernel at once, and a process that serves photographs of a camera then has the
kernel map and clear the same megabytes for each of them, which costs a third of the request's processor time.

Python's collector looks through all objects whenever enough new ones have gathered, nine tenths of which are modules,
routes and schemas that never go. Meanwhile nothing else runs, not even the event loop: for 50 to 100 ms every second or
two under many clients.
"""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Mapping

# From malloc.h. Blocks of this size come from memory that is kept; glibc accepts no more. Larger ones, which only
# pictures near the limits of what is accepted have, are given back.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BLOCK_BYTES = 32 * 1024 * 1024
# As much is kept at the top of each thread's memory.
_KEPT_BYTES = 32 * 1024 * 1024
_OPERATORS_OWN = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD")

# So many more objects than before make Python's collector look at the new ones; by default 700, a few requests' worth.
# Requests leave nothing that only the collector can free; should one do so, few objects may hold a whole picture, so
# the server also calls the collector by the clock (`app.__main__`).
_NEW_OBJECTS = 20_000


def keep_freed_memory(environment: Mapping[str, str] = os.environ) -> bool:
    """Sets the C library's thresholds, for the whole process; called before there are threads.

    Args:
        environment: An operator's own choice of allocator or thresholds in it is left alone.

    Returns:
        Whether it was done: not where the C library is not glibc.

    Reference:
        mallopt(3).
    """
    if any(name in environment for name in _OPERATORS_OWN):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _KEPT_BLOCK_BYTES) and mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES))


def spare_from_collection() -> None:
    """Keeps Python's collector from looking at what lives now, for good, and at new objects before there are many.

    Called once, when the server has started.

    Objects are still freed when nothing refers to them any more. Only what goes later and refers to itself stays.

    Reference:
        gc.freeze.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS)
