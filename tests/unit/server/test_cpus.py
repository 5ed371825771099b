"""Cores by affinity and quota, and the threads on them."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.server.cpus import HomeCores, available_cpus, go_behind_the_event_loop


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
    go_behind_the_event_loop()


@pytest.fixture
def moves(monkeypatch):
    """Where threads were sent, by thread."""
    moves = {}
    monkeypatch.setattr(
        os, "sched_setaffinity", lambda pid, cores: moves.setdefault(threading.get_ident(), []).append(cores)
    )
    return moves


def settle_in_threads(threads: int, *crowded: bool) -> None:
    homes, together = HomeCores(threads), threading.Barrier(threads)

    def settle() -> None:
        together.wait(10)  # so that each thread has one of the calls
        for case in crowded:
            homes.settle(case)

    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(settle) for _ in range(threads)]:
            future.result()


def test_threads_stay_on_cores_of_their_own_while_all_have_work(moves):
    settle_in_threads(16, False, True, True, False, False)
    assert sorted(next(iter(held)) for held, _ in moves.values()) == list(range(16))
    assert all((len(held), freed) == (1, set(range(16))) for held, freed in moves.values())


@pytest.mark.parametrize("threads", [2, 17], ids=["quota", "more threads than cores"])
def test_threads_are_not_held_where_they_are_not_one_for_each_core(moves, threads):
    settle_in_threads(threads, True)
    assert moves == {}


def test_one_thread_on_one_core_is_not_held(moves, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3})
    settle_in_threads(1, True)
    assert moves == {}


def test_threads_work_where_they_may_not_be_held(monkeypatch):
    def forbidden(pid, cores):
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", forbidden)
    settle_in_threads(16, True, False)
