"""The kind of CPU."""

from __future__ import annotations

import pytest

from benchmarks.machine import CpuKind, cpu_kind


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        ("model name\t: a CPU\nflags\t\t: fpu sse2 avx2 avx512f avx512_vnni\n", CpuKind.AVX512),
        ("flags\t\t: fpu sse2 avx2\n", CpuKind.AVX2),
        ("Features\t: fp asimd\n", CpuKind.AVX2),
    ],
)
def test_kind_of_cpu_is_read_from_the_flags(tmp_path, lines, kind):
    path = tmp_path / "cpuinfo"
    path.write_text(lines)
    assert cpu_kind(path) is kind
