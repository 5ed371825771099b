"""Limits of control groups: both versions, and groups below the mount point."""

from __future__ import annotations

import pytest

from app.server.cgroup import ControlGroups

UNLIMITED_V1 = "9223372036854771712"


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text + "\n")


@pytest.fixture
def groups(tmp_path):
    """Control groups in a temporary folder. Without a membership file the process is in the root group."""
    return ControlGroups(tmp_path / "mount", tmp_path / "membership")


def join(groups, *lines):
    groups.membership.write_text("".join(line + "\n" for line in lines))


@pytest.mark.parametrize(
    ("line", "cores"),
    [("max 100000", None), ("200000 100000", 2), ("50000 100000", 0.5), ("200000", None), ("200000 0", None)],
)
def test_quota_of_version_2(groups, line, cores):
    write(groups.mount, cpu__max=line)
    assert groups.quota_cores() == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", None), ("300000", 3)])
def test_quota_of_version_1(groups, quota, cores):
    write(groups.mount / "cpu", **{"cpu__cfs_quota_us": quota, "cpu__cfs_period_us": "100000"})
    assert groups.quota_cores() == cores


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"memory__max": "max"}, None),
        ({"memory__max": "1073741824"}, 1073741824),
        ({"memory__max": "1073741824", "memory__high": "800000000"}, 800000000),
        ({"memory__max": "max", "memory__high": "max"}, None),
    ],
)
def test_memory_limit_of_version_2(groups, files, limit):
    write(groups.mount, **files)
    assert groups.memory_limit_bytes() == limit


def test_memory_limit_of_version_1(groups):
    write(groups.mount / "memory", memory__limit_in_bytes="1073741824")
    assert groups.memory_limit_bytes() == 1073741824


def test_a_machine_without_control_groups_has_no_limits(groups):
    assert groups.memory_limit_bytes() is None
    assert groups.quota_cores() is None


def test_the_limits_of_a_systemd_unit_and_of_its_slice_hold(groups):
    """systemd mounts the root group, which has no limits, and puts each unit into a group below."""
    join(groups, "0::/system.slice/fer-serve.service")
    unit = groups.mount / "system.slice" / "fer-serve.service"
    write(unit, memory__max="2000000000", cpu__max="400000 100000")
    assert (groups.memory_limit_bytes(), groups.quota_cores()) == (2000000000, 4)
    write(unit.parent, memory__max="1000000000", cpu__max="150000 100000")
    assert (groups.memory_limit_bytes(), groups.quota_cores()) == (1000000000, 1.5)


def test_a_group_of_version_1_below_the_mount_point(groups):
    join(groups, "0::/", "4:memory:/system.slice/fer-serve.service", "3:cpu,cpuacct:/pods/one")
    write(groups.mount / "memory", memory__limit_in_bytes=UNLIMITED_V1)
    write(groups.mount / "memory" / "system.slice" / "fer-serve.service", memory__limit_in_bytes="1500000000")
    write(groups.mount / "cpu" / "pods" / "one", **{"cpu__cfs_quota_us": "200000", "cpu__cfs_period_us": "100000"})
    assert (groups.memory_limit_bytes(), groups.quota_cores()) == (1500000000, 2)


def test_a_container_that_sees_the_path_of_the_host_uses_its_mount_point(groups):
    """With the group namespace of the host the path in the membership file does not exist in the container."""
    join(groups, "0::/docker/0123456789ab", "4:memory:/docker/0123456789ab")
    write(groups.mount / "memory", memory__limit_in_bytes="1073741824")
    assert groups.memory_limit_bytes() == 1073741824


def test_hybrid_layout_of_systemd(groups):
    join(groups, "4:memory:/user", "0::/user")
    write(groups.mount / "unified" / "user", cpu__max="100000 100000")
    write(groups.mount / "memory" / "user", memory__limit_in_bytes="1000000000")
    assert (groups.memory_limit_bytes(), groups.quota_cores()) == (1000000000, 1)
