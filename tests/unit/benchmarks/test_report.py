"""The report of a run: tables, plots, and their place in docs/performance.md."""

from __future__ import annotations

import re

import pytest

from benchmarks.__main__ import DOCUMENT
from benchmarks.plots import PLOTS
from benchmarks.report import replace_sections, sections, write_report
from benchmarks.tables import capacity_per_s, ceiling
from tests.unit.benchmarks.results import make_results


def test_report_has_every_section_and_plot(tmp_path):
    path = write_report(make_results(), tmp_path)
    text = path.read_text()
    for name in sections(make_results()):
        assert f"## {name.capitalize()}" in text
    assert {image.name for image in tmp_path.glob("*.png")} == set(PLOTS)
    assert "| portraits | 16 | 40.0 | 20 | 30 | 50 | 22 |" in text


def test_report_of_a_part_has_only_that_part(tmp_path):
    text = write_report({"memory": make_results()["memory"]}, tmp_path).read_text()
    assert "## Memory" in text
    assert "## Service" not in text


def test_new_sections_replace_only_the_generated_text():
    document = "# A\n<!-- bench:memory -->\nold\n<!-- /bench -->\nprose\n<!-- bench:forms -->\n<!-- /bench -->\nend\n"
    replaced = replace_sections(document, {"memory": "| 1 |", "forms": "| 2 |"})
    assert replaced == document.replace("old", "| 1 |").replace("forms -->\n", "forms -->\n| 2 |\n")
    assert replace_sections(replaced, {"memory": "| 1 |", "forms": "| 2 |"}) == replaced


def test_document_without_a_section_is_refused():
    with pytest.raises(ValueError, match="memory"):
        replace_sections("# A\n", {"memory": "| 1 |"})


def test_performance_document_has_every_section():
    names = re.findall(r"<!-- bench:(\w+) -->", DOCUMENT.read_text(encoding="utf-8"))
    assert sorted(names) == sorted(sections(make_results()))


def test_capacity_leaves_a_share_of_the_cores_free():
    assert capacity_per_s(cpu_ms=20.0, cores=2) == pytest.approx(70.0)


def test_ceiling_uses_the_mean_file():
    fast, slow = ({"decode_ms": [1.0, 1.0], "classify_ms": [2.0, 2.0]} for _ in range(2))
    slow["decode_ms"] = [3.0, 5.0]  # median: 4
    results = make_results(stages={"files": {"photographs": [fast, slow]}, "classify": {}})
    assert ceiling(results, "photographs", ["decode_ms"]) == pytest.approx(22.0 / 2.5)
    assert ceiling(results, "photographs", ["decode_ms", "classify_ms"]) == pytest.approx(22.0 / 4.5)
