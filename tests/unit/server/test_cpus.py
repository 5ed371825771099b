"""Cores by affinity and quota, and the threads on them."""

from __future__ import annotations

import os

import pytest

from app.server.cpus import available_cpus, lower_thread_priority


@pytest.fixture(autouse=True)
def sixteen_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))


@pytest.mark.parametrize(
    ("line", "cores"),
    [("max 100000", 16), ("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1), ("9900000 100000", 16)],
)
def test_available_cpus_version_2_quota_lowers_the_cores(tmp_path, line, cores):
    (tmp_path / "cpu.max").write_text(line + "\n")
    assert available_cpus(tmp_path) == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", 16), ("300000", 3)])
def test_available_cpus_version_1_quota_lowers_the_cores(tmp_path, quota, cores):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota + "\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert available_cpus(tmp_path) == cores


def test_available_cpus_without_control_groups_is_the_affinity(tmp_path):
    assert available_cpus(tmp_path) == 16


def test_threads_work_where_their_priority_may_not_be_changed(monkeypatch):
    def forbidden(which, who, priority):
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", forbidden)
    lower_thread_priority()
