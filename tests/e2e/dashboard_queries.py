"""Run every query of the dashboard on a Prometheus server: `python3 tests/e2e/dashboard_queries.py URL`.

Prints a Markdown table of panel, query and value. The exit status is 1 if a query has no value. Uses only the standard
library.
"""

from __future__ import annotations

import json
import math
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana" / "dashboards" / "fer-serve.json"
# Grafana's values for all instances and a step of 15 s.
_VARIABLES = {"$__rate_interval": "1m", "$instance": ".*"}
_MAX_VALUES = 4


def queries() -> Iterator[tuple[str, str]]:
    """Return the panel title and the expression of every query, with Grafana's variables replaced."""
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"]
            for variable, value in _VARIABLES.items():
                expression = expression.replace(variable, value)
            yield panel["title"], expression


def query(prometheus: str, expression: str) -> list[tuple[dict[str, str], float]]:
    """Return the labels and the value of every series. NaN values are omitted."""
    parameters = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"{prometheus}/api/v1/query?{parameters}", timeout=30) as response:  # noqa: S310  (URL from the command line)
        found = json.load(response)["data"]["result"]
    values = [(one["metric"], float(one["value"][1])) for one in found]
    return [(labels, value) for labels, value in values if not math.isnan(value)]


def row_head(title: str, expression: str) -> str:
    """Return the table row of a query up to its value."""
    escaped = expression.replace("|", "\\|")
    return f"| {title} | `{escaped}` |"


def cell(series: list[tuple[dict[str, str], float]]) -> str:
    """Return the largest values as text."""
    texts = []
    for labels, value in sorted(series, key=lambda one: -one[1])[:_MAX_VALUES]:
        names = ", ".join(f"{label}={text[:20]}" for label, text in sorted(labels.items()) if label != "__name__")
        texts.append(f"{names}: {value:.4g}" if names else f"{value:.4g}")
    more = f"; {len(series) - _MAX_VALUES} more" if len(series) > _MAX_VALUES else ""
    return "; ".join(texts) + more


def main() -> int:
    """Print the table, and report queries without a value on standard error."""
    prometheus, empty = sys.argv[1], []
    print("| panel | query | value |\n| --- | --- | --- |")
    for title, expression in queries():
        series = query(prometheus, expression)
        if not series:
            empty.append(f"{title}: {expression}")
        print(f"{row_head(title, expression)} {cell(series) or '(none)'} |")
    for line in empty:
        print(f"no value: {line}", file=sys.stderr)
    return 1 if empty else 0


if __name__ == "__main__":
    sys.exit(main())
