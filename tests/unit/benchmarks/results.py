"""Results of a benchmark run for the tests: two equal rounds."""

from __future__ import annotations

from typing import Any

WINDOW = {
    **{"requests": 100, "errors": 0, "per_s": 40.0, "p50_ms": 20.0, "p90_ms": 30.0, "p99_ms": 50.0, "max_ms": 60.0},
    **{"cpu_ms": 22.0, "loop_cpu_ms": 1.0, "server_cores": 1.5, "generator_cores": 0.1, "rss_mb": 200.0},
    **{"health_p50_ms": 1.0, "health_max_ms": 9.0, "health_errors": 0, "health_requests": 50},
}
BASELINE = WINDOW | {"per_s": 4.0, "p99_ms": 1000.0}
PIPELINE = WINDOW | {"cpu_ms": 20.0, "p50_ms": 19.0}


def make_results(**changes: Any) -> dict[str, Any]:
    """Return the results of a run. A part that is changed to None is left out."""
    file = {"bytes": 9, "width_px": 640, "height_px": 480, "faces": 1}
    file |= {f"{stage}_ms": [1.0, 2.0] for stage in ("decode", "detect", "crop", "classify", "total")}
    by_clients = {clients: [WINDOW, WINDOW] for clients in ("1", "16", "128")}
    names = ("portraits", "photographs", "faces")
    results = {
        "machine": {
            **{"cpu": "a CPU", "cpu_kind": "AVX2 only", "cores": 2, "memory_gb": 8.0, "system": "Linux 6"},
            **{"python": "3.11", "packages": {"numpy": "2"}, "commit": "abc", "load_before": 0.0},
        },
        "started": "2026-11-21",
        "quick": False,
        "rounds": 2,
        "workloads": dict.fromkeys(names, "files"),
        "stages": {"files": {name: [file] for name in names}, "classify": {"1": [4.0, 4.1], "64": [3.0, 3.1]}},
        "closed": {
            "service": dict.fromkeys(names, by_clients),
            "baseline": {name: {"16": [BASELINE] * 2} for name in ("portraits", "photographs")},
            "in_process": {name: {"1": [PIPELINE] * 2, "16": [PIPELINE] * 2} for name in ("portraits", "faces")},
        },
        "open": [WINDOW | {"rate": 20.0, "load": 0.5}, WINDOW | {"rate": 36.0, "load": 0.9}],
        "detection": {
            "service": {"found": 29, "false": 0, "faces": 29},
            "baseline": {"found": 28, "false": 3, "faces": 29},
        },
        "forms": {"faces": {"multipart": [WINDOW], "raw": [WINDOW]}},
        "scaling": {"1": [WINDOW | {"per_s": 21.0}], "2": [WINDOW]},
        "memory": [{"requests": number * 1000, "rss_mb": 200.0 + number / 50} for number in range(1, 51)],
        "profile": {"portraits": {"decode": 0.1, "detect": 0.9}},
    }
    return {name: part for name, part in (results | changes).items() if part is not None}
