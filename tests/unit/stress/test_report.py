"""The results in docs/reliability.md: a new table replaces the table of the same run."""

from __future__ import annotations

import json

import pytest

from stress import checks, report

DOCUMENT = f"""# Reliability

{report.HEADING}
`make stress`, 6 minutes, old:

| old stress test |

`python -m stress.soak`, 60 minutes, old:

| old soak |
"""


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RUNS", tmp_path)
    monkeypatch.setattr(checks, "RUNS", tmp_path)
    for name in ("all", "soak"):
        check = {"guarantee": f"new {name}", "attempt": "1", "observed": "", "violations": []}
        (tmp_path / f"{name}.json").write_text(json.dumps({"minutes": 2.0, "commit": "c", "checks": [check]}))


@pytest.mark.parametrize(("name", "kept"), [("all", "old soak"), ("soak", "old stress test")])
def test_table_of_one_run_is_replaced_and_the_other_stays(runs, name, kept):
    replaced = report.replace_section(DOCUMENT, name)
    assert replaced.startswith("# Reliability\n\n" + report.HEADING)
    assert f"| new {name} | 1 |" in replaced
    assert f"| {kept} |" in replaced
    assert replaced.count("| old ") == 1
    assert report.replace_section(replaced, name) == replaced


def test_first_table_is_added(runs):
    replaced = report.replace_section("# Reliability\n", "soak")
    assert replaced.startswith("# Reliability\n\n" + report.HEADING)
    assert "| new soak | 1 |" in replaced


def test_document_has_the_heading_of_the_results():
    assert report.HEADING in report.DOCUMENT.read_text()
