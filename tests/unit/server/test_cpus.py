"""The number of cores from CPU affinity and quota, and the priority of threads."""

from __future__ import annotations

import os

import pytest

from app.server.cpus import available_cpus, lower_thread_priority, vision_thread_count


@pytest.fixture(autouse=True)
def sixteen_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))


@pytest.mark.parametrize(
    ("line", "cores"),
    [("max 100000", 16), ("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1), ("9900000 100000", 16)],
)
def test_available_cpus_is_limited_by_the_quota_of_cgroup_version_2(tmp_path, line, cores):
    (tmp_path / "cpu.max").write_text(line + "\n")
    assert available_cpus(tmp_path) == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", 16), ("300000", 3)])
def test_available_cpus_is_limited_by_the_quota_of_cgroup_version_1(tmp_path, quota, cores):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota + "\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert available_cpus(tmp_path) == cores


def test_available_cpus_without_a_control_group_is_the_affinity(tmp_path):
    assert available_cpus(tmp_path) == 16


def test_lower_thread_priority_ignores_a_sandbox_that_forbids_it(monkeypatch):
    def forbid(*arguments):
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", forbid)
    monkeypatch.setattr(os, "sched_setscheduler", forbid)
    lower_thread_priority()


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 3), (16, 17)])
def test_there_is_one_vision_thread_more_than_cores_unless_there_is_one_core(cores, threads):
    assert vision_thread_count(cores) == threads
