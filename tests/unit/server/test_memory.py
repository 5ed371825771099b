"""What the process asks of the C library's allocator. In processes of their own: it is for good."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from app.server.memory import keep_freed_memory
from tests.support.paths import REPOSITORY

# What a camera's photograph takes in a vision thread, several times over; prints the page faults of the last rounds.
_PHOTOGRAPHS = """
import resource, threading
import numpy as np
from app.server.memory import keep_freed_memory
if {keep}:
    assert keep_freed_memory({{}})
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
    assert not keep_freed_memory({name: "1"})


# Prints how often the collector looked while a hundred requests' worth of objects came, and while many more did.
_COLLECTIONS = """
import gc
from app.server.memory import spare_from_collection
def looks(count):
    before = sum(generation["collections"] for generation in gc.get_stats())
    kept = [[] for _ in range(count)]
    return sum(generation["collections"] for generation in gc.get_stats()) - before
{before}
print(looks(10_000), looks(100_000) > 0)
"""


@pytest.mark.parametrize(("before", "spared"), [("", False), ("spare_from_collection()", True)])
def test_collector_does_not_look_at_what_requests_bring_and_still_at_what_piles_up(before, spared):
    program = [sys.executable, "-c", _COLLECTIONS.format(before=before)]
    looks, at_many = subprocess.check_output(program, cwd=REPOSITORY, text=True).split()
    assert (int(looks) == 0) == spared
    assert at_many == "True"
