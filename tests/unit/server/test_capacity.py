"""The share of memory of vision threads and of bodies."""

from __future__ import annotations

import re

import pytest

from app.config import Settings
from app.server.capacity import available_memory_bytes, plan_capacity, vision_thread_count
from app.server.cgroup import ControlGroups
from app.vision.decode.limits import MAX_DECODE_BYTES
from tests.support.paths import REPOSITORY

OPERATING = REPOSITORY / "docs" / "operating.md"
MB, MIB, GIB = 10**6, 2**20, 2**30
# What the process takes without any request, as docs/performance.md says.
PROCESS_BYTES = 180 * MB


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 3), (16, 17)])
def test_there_is_one_vision_thread_more_than_cores_unless_there_is_one_core(cores, threads):
    assert vision_thread_count(cores) == threads
    assert plan_capacity(Settings(), cores, 64 * GIB).vision_threads == threads


@pytest.mark.parametrize("memory_bytes", [512 * MIB, 768 * MIB, GIB, 2 * GIB, 4 * GIB])
@pytest.mark.parametrize("cores", [1, 2, 4, 32, 256])
@pytest.mark.parametrize("max_body_bytes", [MIB, 20 * MIB])
def test_decoding_and_bodies_fit_into_the_memory(memory_bytes, cores, max_body_bytes):
    capacity = plan_capacity(Settings(max_body_bytes=max_body_bytes), cores, memory_bytes)
    used = PROCESS_BYTES + capacity.vision_threads * MAX_DECODE_BYTES + 2 * capacity.inflight_bytes
    assert used < memory_bytes
    assert capacity.vision_threads >= 1
    assert capacity.inflight_bytes >= max_body_bytes
    assert capacity.is_enough


def test_two_cores_keep_all_their_threads_with_the_limit_of_the_shipped_deployments():
    capacity = plan_capacity(Settings(max_body_bytes=20 * MIB), 2, GIB)
    assert capacity.vision_threads == 3
    assert capacity.inflight_bytes > 6 * 20 * MIB


def test_too_little_memory_is_noticed():
    capacity = plan_capacity(Settings(max_body_bytes=20 * MIB), 2, 384 * MIB)
    assert capacity.vision_threads == 1
    assert capacity.inflight_bytes == 20 * MIB
    assert not capacity.is_enough


def test_settings_override_what_is_derived():
    settings = Settings(vision_threads=5, max_inflight_bytes=30 * MIB)
    capacity = plan_capacity(settings, 2, 64 * GIB)
    assert (capacity.vision_threads, capacity.inflight_bytes) == (5, 30 * MIB)


def test_more_vision_threads_leave_less_memory_to_bodies():
    derived = plan_capacity(Settings(), 2, GIB).inflight_bytes
    assert plan_capacity(Settings(vision_threads=1), 2, GIB).inflight_bytes > derived


@pytest.mark.parametrize("memory_bytes", [512 * MIB, GIB, 2 * GIB, 4 * GIB])
def test_document_shows_the_capacity(memory_bytes):
    label = f"{memory_bytes // MIB} MiB" if memory_bytes < GIB else f"{memory_bytes // GIB} GiB"
    cells = []
    for cores in (1, 2, 4, 32):
        capacity = plan_capacity(Settings(), cores, memory_bytes)
        threads = capacity.vision_threads
        cells.append(f"{threads} thread{'s' if threads > 1 else ''}, {capacity.inflight_bytes // MB} MB")
    (row,) = re.findall(rf"^\| {label}.*?\| (.*) \|$", OPERATING.read_text(encoding="utf-8"), re.MULTILINE)
    assert row == " | ".join(cells)


def test_available_memory_is_the_smallest_limit(tmp_path):
    machine = available_memory_bytes(ControlGroups(tmp_path))
    assert machine > 0
    (tmp_path / "memory.max").write_text(f"{machine // 2}\n")
    assert available_memory_bytes(ControlGroups(tmp_path)) == machine // 2
    (tmp_path / "memory.max").write_text(f"{machine * 2}\n")
    assert available_memory_bytes(ControlGroups(tmp_path)) == machine
