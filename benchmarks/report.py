"""The report of a run, and its tables in docs/performance.md."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import tables
from benchmarks.plots import PLOTS, draw

Results = Mapping[str, Any]

_SECTIONS: dict[str, Callable[[Results], str]] = {
    "machine": tables.machine_text,
    "targets": tables.targets_table,
    "stages": tables.stages_table,
    "classify": tables.classify_table,
    "service": tables.service_table,
    "baseline": tables.baseline_table,
    "ceiling": tables.ceiling_table,
    "arrivals": tables.arrivals_table,
    "forms": tables.forms_table,
    "scaling": tables.scaling_table,
    "memory": tables.memory_table,
    "profile": tables.profile_table,
    "capacity": tables.capacity_table,
}


def sections(results: Results) -> dict[str, str]:
    """Return the sections of everything that the run measured, as Markdown by name."""
    built = {}
    for name, build in _SECTIONS.items():
        try:
            built[name] = build(results)
        except KeyError:  # the run did not measure this
            continue
    return built


def write_report(results: Results, folder: Path) -> Path:
    """Write report.md with its plots into a folder and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    draw(results, folder)
    parts = [f"## {name.capitalize()}\n\n{text}" for name, text in sections(results).items()]
    plots = [f"![{name}]({name})" for name in PLOTS if (folder / name).exists()]
    path = folder / "report.md"
    path.write_text("\n\n".join(["# Benchmark", *parts, *plots]) + "\n", encoding="utf-8")
    return path


def replace_sections(document: str, parts: Mapping[str, str]) -> str:
    """Return a document with new text between each `<!-- bench:NAME -->` and `<!-- /bench -->`.

    Raises:
        ValueError: The names in the document and the names of the parts differ.
    """
    names = re.findall(r"<!-- bench:(\w+) -->", document)
    if sorted(names) != sorted(parts):
        raise ValueError(f"the document has the sections {sorted(names)}. Received: {sorted(parts)}")
    return re.sub(
        r"<!-- bench:(\w+) -->.*?<!-- /bench -->",
        lambda section: f"<!-- bench:{section[1]} -->\n{parts[section[1]]}\n<!-- /bench -->",
        document,
        flags=re.DOTALL,
    )
