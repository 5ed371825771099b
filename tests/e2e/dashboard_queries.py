"""Asks a running Prometheus every query of the dashboard: `python3 tests/e2e/dashboard_queries.py URL`.

Prints a Markdown table of panel, query and live value; the status is 1 where a query has none. Standard library only.
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
# What Grafana would put there for all instances and a step of 15 s.
_VARIABLES = {"$__rate_interval": "1m", "$instance": ".*"}
_SHOWN = 4


def queries() -> Iterator[tuple[str, str]]:
    """Panel title and expression, as Prometheus gets it."""
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"]
            for variable, value in _VARIABLES.items():
                expression = expression.replace(variable, value)
            yield panel["title"], expression


def ask(prometheus: str, expression: str) -> list[tuple[dict[str, str], float]]:
    """Labels and value of every series that is a number."""
    query = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"{prometheus}/api/v1/query?{query}", timeout=30) as answer:  # noqa: S310 (ours)
        found = json.load(answer)["data"]["result"]
    values = [(one["metric"], float(one["value"][1])) for one in found]
    return [(labels, value) for labels, value in values if not math.isnan(value)]


def row_head(title: str, expression: str) -> str:
    """The row of a query up to its value."""
    escaped = expression.replace("|", "\\|")
    return f"| {title} | `{escaped}` |"


def cell(series: list[tuple[dict[str, str], float]]) -> str:
    """The first few series, for people."""
    shown = []
    for labels, value in sorted(series, key=lambda one: -one[1])[:_SHOWN]:
        names = ", ".join(f"{label}={text[:20]}" for label, text in sorted(labels.items()) if label != "__name__")
        shown.append(f"{names}: {value:.4g}" if names else f"{value:.4g}")
    more = f"; {len(series) - _SHOWN} more" if len(series) > _SHOWN else ""
    return "; ".join(shown) + more


def main() -> int:
    """Prints the table; tells of queries without a value."""
    prometheus, empty = sys.argv[1], []
    print("| panel | query | value |\n| --- | --- | --- |")
    for title, expression in queries():
        series = ask(prometheus, expression)
        if not series:
            empty.append(f"{title}: {expression}")
        print(f"{row_head(title, expression)} {cell(series) or '(none)'} |")
    for line in empty:
        print(f"no value: {line}", file=sys.stderr)
    return 1 if empty else 0


if __name__ == "__main__":
    sys.exit(main())
