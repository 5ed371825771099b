"""The document of what was seen: one run's table is replaced, the others stay."""

from __future__ import annotations

import json

import pytest

from stress import findings, report

DOCUMENT = f"""# Reliability

{report.HEADING}
`make torture`, 6 minutes, old:

| old torture |

`python -m stress.soak`, 60 minutes, old:

| old soak |
"""


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RUNS", tmp_path)
    monkeypatch.setattr(findings, "RUNS", tmp_path)
    for name in ("all", "soak"):
        finding = {"promise": f"new {name}", "tried": "1", "seen": "", "broke": []}
        (tmp_path / f"{name}.json").write_text(json.dumps({"minutes": 2.0, "commit": "c", "findings": [finding]}))


@pytest.mark.parametrize(("name", "kept"), [("all", "old soak"), ("soak", "old torture")])
def test_table_of_one_run_is_replaced_and_the_other_stays(runs, name, kept):
    written = report.replaced(DOCUMENT, name)
    assert written.startswith("# Reliability\n\n" + report.HEADING)
    assert f"| new {name} | 1 |" in written
    assert f"| {kept} |" in written
    assert written.count("| old ") == 1
    assert report.replaced(written, name) == written


def test_first_table_is_added(runs):
    written = report.replaced("# Reliability\n", "soak")
    assert written.startswith("# Reliability\n\n" + report.HEADING)
    assert "| new soak | 1 |" in written
