"""What the process asks of the C library's allocator. In processes of their own: it is for good."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from app.server.memory import tune_allocator
from tests.support.paths import REPOSITORY

# What a camera's photograph takes in a vision thread, several times over; prints the page faults of the last rounds.
_PHOTOGRAPHS = """
import resource, threading
import numpy as np
from app.server.memory import tune_allocator
if {keep}:
    assert tune_allocator({{}})
def photograph():
    blocks = [np.ones(megabytes << 20, np.uint8) for megabytes in (3, 12, 12, 3)]
def rounds(number):
    for _ in range(number):
        photograph()
def work():
    rounds(3)
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    rounds(5)
    print(resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before)
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


def _page_faults(keep: bool) -> int:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    program = [sys.executable, "-c", _PHOTOGRAPHS.format(keep=keep)]
    return int(subprocess.check_output(program, cwd=REPOSITORY, env=environment, text=True))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_memory_of_one_photograph_serves_the_next():
    assert _page_faults(keep=True) < 100
    assert _page_faults(keep=False) > 1000


@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD"])
def test_memory_is_left_to_an_operator_who_chose(name):
    assert not tune_allocator({name: "1"})


# Prints whether the import freezes no objects, whether the call freezes objects, and whether a later cycle is freed.
# Python 3.12 starts with frozen objects.
_FREEZE = """
import gc, weakref
start = gc.get_freeze_count()
from app.server.memory import freeze_garbage_collector
class Node: pass
before = gc.get_freeze_count()
freeze_garbage_collector()
node = Node()
node.itself = node
gone = weakref.ref(node)
del node
kept = [[] for _ in range(100_000)]
print(before == start, gc.get_freeze_count() > before + 1000, gone() is None)
"""


def test_objects_of_the_start_are_frozen_and_later_cycles_are_collected():
    imported, frozen, collected = subprocess.check_output(
        [sys.executable, "-c", _FREEZE], cwd=REPOSITORY, text=True
    ).split()
    assert (imported, frozen, collected) == ("True", "True", "True")
