"""Allocator and garbage collector settings. Each test starts a process, because the settings are permanent."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from app.server.memory import tune_allocator
from tests.support.paths import REPOSITORY

# Allocates the blocks of a camera photograph in a thread several times; prints the page faults of the last rounds.
_ALLOCATIONS = """
import resource, threading
import numpy as np
from app.server.memory import tune_allocator
if {tune}:
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


def page_faults(tune: bool) -> int:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    program = [sys.executable, "-c", _ALLOCATIONS.format(tune=tune)]
    return int(subprocess.check_output(program, cwd=REPOSITORY, env=environment, text=True))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_tuned_allocator_reuses_the_memory_of_photographs():
    assert page_faults(tune=True) < 100
    assert page_faults(tune=False) > 1000


@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD"])
def test_tune_allocator_leaves_the_settings_of_the_operator(name):
    assert not tune_allocator({name: "1"})


# Prints whether the import freezes no objects (Python 3.12 starts with frozen objects), whether the call freezes
# objects, and whether a cycle that is created later is collected.
_FREEZE = """
import gc, weakref
start = gc.get_freeze_count()
from app.server.memory import freeze_garbage_collector
class Node: pass
before = gc.get_freeze_count()
freeze_garbage_collector()
node = Node()
node.itself = node
reference = weakref.ref(node)
del node
kept = [[] for _ in range(100_000)]
print(before == start, gc.get_freeze_count() > before + 1000, reference() is None)
"""


def test_freeze_garbage_collector_excludes_only_present_objects():
    imported, frozen, collected = subprocess.check_output(
        [sys.executable, "-c", _FREEZE], cwd=REPOSITORY, text=True
    ).split()
    assert (imported, frozen, collected) == ("True", "True", "True")
