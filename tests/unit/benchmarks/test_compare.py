"""The comparison of two checkouts: ratios per round, alternating order, and the table."""

from __future__ import annotations

import pytest

from benchmarks import compare
from benchmarks.comparison import AFTER, BEFORE, HTTP_FIGURES, OVERLOAD_FIGURES, OVERLOAD_SUFFIX, Figure, report
from benchmarks.over_http import Plan

DETAILS = {
    "after_limit": None,
    "rounds": 2,
    "wall_s": 60.0,
    "machine": {"cpu": "a CPU", "cpu_kind": "AVX2 only", "cores": 2, "load_before": 0.1},
    "checkouts": {BEFORE: {"commit": "aaa"}, AFTER: {"commit": "bbb"}},
}


def window(**changes: float) -> dict[str, float]:
    names = [figure.name for figure in (*HTTP_FIGURES, *OVERLOAD_FIGURES)]
    return dict.fromkeys(names, 1.0) | {"errors": 0} | changes


def test_figure_is_compared_within_each_round():
    before = [window(cpu_ms=10.0), window(cpu_ms=20.0), window(cpu_ms=40.0)]
    after = [window(cpu_ms=11.0), window(cpu_ms=20.0), window(cpu_ms=36.0)]
    assert Figure("cpu_ms", "CPU").compare(before, after) == "1.00 (0.900 to 1.10)"


def test_share_is_compared_by_its_difference_in_points():
    before = [window(goodput_share=0.9), window(goodput_share=0.9)]
    after = [window(goodput_share=0.88), window(goodput_share=0.91)]
    figure = Figure("goodput_share", "goodput", 100, difference="points")
    assert figure.compare(before, after) == "-0.50 (-2.00 to +1.00) points"


def test_report_names_both_commits_every_figure_and_every_error():
    overload = f"portraits{OVERLOAD_SUFFIX}"
    results = {
        BEFORE: {"faces": [window(), window()], overload: [window(), window()]},
        AFTER: {"faces": [window(), window(cpu_ms=2.0)], overload: [window(), window(errors=3)]},
    }
    text = report(DETAILS, results)
    assert "before: `aaa`, after: `bbb`" in text
    assert "| faces | CPU ms/request | 1.00 | 1.50 (1.00 to 2.00) | 1.50 (1.00 to 2.00) |" in text
    assert all(f"| faces | {figure.title} |" in text for figure in HTTP_FIGURES)
    assert all(f"| {overload} | {figure.title} |" in text for figure in OVERLOAD_FIGURES)
    assert f"{overload}, after: 3 errors" in text
    assert "before: 0 errors" not in text


def test_order_of_the_checkouts_changes_from_round_to_round(monkeypatch, tmp_path):
    orders = []

    def measure(directories, workloads, plan, logs, keep):
        orders.append(list(directories))
        for side in directories:
            keep(side, "faces", window(), "")

    monkeypatch.setattr(compare, "measure_closed_loop", measure)
    directories = {BEFORE: tmp_path, AFTER: tmp_path}
    results = compare.measure(directories, {"faces": None}, (), Plan(3, 1.0, 1.0, 0), tmp_path, {})
    assert orders == [[BEFORE, AFTER], [AFTER, BEFORE], [BEFORE, AFTER]]
    assert len(results[BEFORE]["faces"]) == len(results[AFTER]["faces"]) == 3


def test_folder_without_the_service_is_refused(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("sys.argv", ["compare", "--before", str(tmp_path), "--after", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        compare.main()
    assert ended.value.code == 2
    assert "app/__main__.py" in capsys.readouterr().err
