"""The programs and tests that `make stress` runs."""

from __future__ import annotations

from importlib.util import find_spec

from stress.__main__ import PROGRAMS, SUITES
from stress.traffic import traffic_mix
from tests.support.paths import REPOSITORY


def test_every_suite_and_program_exists():
    missing = [path for paths in SUITES.values() for path in paths if not (REPOSITORY / path).exists()]
    missing += [name for name in PROGRAMS if find_spec(f"stress.{name}") is None]
    assert missing == []


def test_shares_of_the_traffic_add_up_to_one():
    assert abs(sum(kind.share for kind in traffic_mix()) - 1) < 1e-9
