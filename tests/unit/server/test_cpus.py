"""The number of cores from CPU affinity and quota, and the priority of threads."""

from __future__ import annotations

import os

import pytest

from app.server.cgroup import ControlGroups
from app.server.cpus import available_cpus, lower_thread_priority


@pytest.fixture(autouse=True)
def sixteen_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))


@pytest.mark.parametrize(
    ("line", "cores"),
    [("max 100000", 16), ("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1), ("9900000 100000", 16)],
)
def test_available_cpus_is_limited_by_the_quota(tmp_path, line, cores):
    (tmp_path / "cpu.max").write_text(line + "\n")
    assert available_cpus(ControlGroups(tmp_path)) == cores


def test_available_cpus_without_a_control_group_is_the_affinity(tmp_path):
    assert available_cpus(ControlGroups(tmp_path)) == 16


def test_lower_thread_priority_ignores_a_sandbox_that_forbids_it(monkeypatch):
    def forbid(*arguments):
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", forbid)
    monkeypatch.setattr(os, "sched_setscheduler", forbid)
    lower_thread_priority()
