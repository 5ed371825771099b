"""Limits of the control groups that the process is in: those of containers, pods and systemd units.

The kernel enforces the limits of a group and of all groups above it. Inside a container the mount point is usually the
group of the container. Under systemd, or with the control groups of the host, the group of the process is below it.

Reference:
    cgroups(7); Linux kernel documentation, "Control Group v2" and "Memory Resource Controller" (version 1).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Controller of the hierarchy of version 2 in /proc/self/cgroup.
_UNIFIED = ""


@dataclass(frozen=True, slots=True)
class ControlGroups:
    """The control groups of this process, in version 1, in version 2, or in both.

    Attributes:
        mount: Mount point of version 2, or the folder with the mount points of version 1.
        membership: File with the paths of the groups of the process.
    """

    mount: Path = Path("/sys/fs/cgroup")
    membership: Path = Path("/proc/self/cgroup")

    def quota_cores(self) -> float | None:
        """Return the smallest quota of processor time, in cores; None without a quota."""
        quotas = []
        for group in self._unified_groups():
            quota, _, period = _read(group / "cpu.max").partition(" ")
            quotas.append(_ratio(quota, period))
        for group in self._groups("cpu"):
            quotas.append(_ratio(_read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us")))
        return min((quota for quota in quotas if quota is not None), default=None)

    def memory_limit_bytes(self) -> int | None:
        """Return the smallest limit of memory in bytes; None without a limit.

        Above `memory.high` the kernel slows the process down, above the other limits the kernel ends it.
        """
        texts = [_read(group / name) for group in self._unified_groups() for name in ("memory.max", "memory.high")]
        texts += [_read(group / "memory.limit_in_bytes") for group in self._groups("memory")]
        # Without a limit, version 2 has the text "max", and version 1 a number above every memory.
        return min((int(text) for text in texts if text.isdecimal()), default=None)

    def _unified_groups(self) -> Iterator[Path]:
        yield from self._ancestors(self.mount, _UNIFIED)
        yield from self._ancestors(self.mount / "unified", _UNIFIED)  # systemd's hybrid layout

    def _groups(self, controller: str) -> Iterator[Path]:
        return self._ancestors(self.mount / controller, controller)

    def _ancestors(self, mount: Path, controller: str) -> Iterator[Path]:
        """Yield the mount point, and the groups from there to the group of the process that are visible."""
        group = mount
        yield group
        for part in Path(self._path_of(controller)).parts[1:]:
            group /= part
            yield group

    def _path_of(self, controller: str) -> str:
        """Return the path of the group of the process. Lines have the form `4:cpu,cpuacct:/path`."""
        for line in _read(self.membership).splitlines():
            _, controllers, path = line.split(":", 2)
            if controller in controllers.split(","):
                return path
        return "/"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError):
        return ""


def _ratio(quota: str, period: str) -> float | None:
    """Return the cores of a quota; None for `max`, -1 and missing files."""
    if not (quota.isdecimal() and period.isdecimal() and int(period)):
        return None
    return int(quota) / int(period)
