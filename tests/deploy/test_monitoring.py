"""Tests of alert rules and dashboard: their metrics exist, and Prometheus accepts their queries."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from app.contract.labels import LABELS
from app.errors import ErrorCode
from app.observability.metrics import STAGES, Metrics
from tests.e2e.dashboard_queries import queries, row_head
from tests.support.paths import REPOSITORY

PROMETHEUS = REPOSITORY / "deploy" / "prometheus"
RULES = PROMETHEUS / "rules" / "fer-serve.yml"
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool (of Prometheus) is not installed")

# Metrics of HAProxy and of Prometheus itself.
EXTERNAL_METRICS = {
    "up",
    "ALERTS",
    "haproxy_backend_active_servers",
    "haproxy_backend_redispatch_warnings_total",
    "haproxy_backend_retry_warnings_total",
    "haproxy_frontend_http_requests_total",
    "haproxy_frontend_http_responses_total",
}


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    return json.loads((REPOSITORY / "deploy" / "grafana" / "dashboards" / "fer-serve.json").read_text())


def series_of_the_service() -> set[str]:
    """Return every series name that /metrics can have, including metrics without a sample."""
    names = set()
    for metric in Metrics().registry.collect():
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(metric.type, ("",))
        names |= {metric.name + suffix for suffix in suffixes}
    return names


def metric_names(expression: str) -> set[str]:
    """Return the series names in an expression: the words that are not label matchers, groupings or functions."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\boffset \w+", " ", bare)
    bare = re.sub(r"\b(by|without|ignoring|on|group_left|group_right)\s*\([^)]*\)", " ", bare)
    words = re.findall(r"(?<![\w.:])[a-zA-Z_:][\w:]*(?!\s*\()(?![\w:])", bare)
    return set(words) - {"and", "or", "unless", "group_left", "group_right", "sum", "count", "min", "max", "by", "bool"}


def expressions() -> Iterator[tuple[str, str]]:
    for rule in rules():
        yield rule.get("alert") or rule["record"], rule["expr"]
    yield from queries()
    # template variables have queries, too
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["definition"].replace("label_values(", "(").replace(", instance)", ")")


@pytest.mark.parametrize(("name", "expression"), list(expressions()))
def test_every_queried_metric_exists(name, expression):
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    unknown = metric_names(expression) - series_of_the_service() - recorded - EXTERNAL_METRICS
    assert not unknown, name
    assert metric_names(expression), name


def test_metric_names_are_found_in_an_expression():
    found = metric_names(
        'sum by (le) (rate(a_total{b="c or d"}[5m])) / ignoring (e) group_left scalar(min(f:g)) or vector(0)'
    )
    assert found == {"a_total", "f:g"}


def test_every_queried_label_value_exists():
    queried = "\n".join(expression for _, expression in expressions())
    for stage in re.findall(r'stage="([^"]*)"', queried):
        assert stage in STAGES
    for reasons in re.findall(r'reason=~"([^"]*)"', queried):
        assert set(reasons.split("|")) <= {code.value for code in ErrorCode}
    assert not re.findall(r'emotion="', queried) or set(re.findall(r'emotion="([^"]*)"', queried)) <= set(LABELS)


def test_document_shows_every_query_of_the_dashboard():
    document = (REPOSITORY / "docs" / "operating.md").read_text(encoding="utf-8")
    for title, expression in queries():
        assert row_head(title, expression) in document, title


def test_every_alert_has_a_test_and_a_section_in_the_runbook():
    alerts = {rule["alert"]: rule for rule in rules() if "alert" in rule}
    tested = {
        case["alertname"]
        for path in (PROMETHEUS / "tests").glob("*.yml")
        for test in yaml.safe_load(path.read_text())["tests"]
        for case in test["alert_rule_test"]
        if case.get("exp_alerts")
    }
    assert tested == set(alerts)
    sections = set(re.findall(r"^### (\w+)$", (REPOSITORY / "docs" / "operating.md").read_text(), re.MULTILINE))
    for name, rule in alerts.items():
        assert rule["annotations"]["runbook"] == f"docs/operating.md#{name.lower()}"
        assert name in sections
        assert rule["labels"]["severity"] in {"warning", "critical"}


@needs_promtool
def test_promtool_accepts_configuration_and_rules():
    checked = subprocess.run(
        [PROMTOOL, "check", "config", PROMETHEUS / "prometheus.yml"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


@needs_promtool
def test_alert_recording_rulespass_their_tests():
    files = sorted((PROMETHEUS / "tests").glob("*.yml"))
    tested = subprocess.run([PROMTOOL, "test", "rules", *files], capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stderr


@needs_promtool
def test_every_query_of_the_dashboard_parses(tmp_path):
    recording_rules = [{"record": "dashboard", "expr": expression} for _, expression in queries()]
    path = tmp_path / "dashboard.yml"
    path.write_text(
        yaml.safe_dump({"groups": [{"name": str(n), "rules": [rule]} for n, rule in enumerate(recording_rules)]})
    )
    checked = subprocess.run(
        [PROMTOOL, "check", "rules", "--lint=none", path], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


def test_dashboard_is_valid_for_grafana():
    board = dashboard()
    assert (board["uid"], board["title"], board["editable"]) == ("fer-serve", "fer-serve", False)
    assert board["schemaVersion"] >= 39
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    used: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & used, panel["title"]
        assert place["x"] + place["w"] <= 24
        used |= cells
        if panel["type"] == "row":
            continue
        assert panel["type"] in {"stat", "timeseries", "heatmap", "table"}
        assert panel["title"]
        assert panel["description"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) >= 1


def test_dashboard_is_provisioned_from_its_mount():
    compose = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"]["grafana"]
    mounts = dict(volume.split(":")[:2] for volume in compose["volumes"])
    provisioning = REPOSITORY / "deploy" / "grafana" / "provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "fer-serve.yml").read_text())["providers"]
    assert mounts["./deploy/grafana/dashboards"] == provider["options"]["path"]
    assert mounts["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    interval = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == interval


def test_dashboard_shows_every_metric_of_the_service():
    shown = set().union(*(metric_names(expression) for _, expression in expressions()))
    for metric in Metrics().registry.collect():
        if metric.name.startswith("fer_"):
            assert any(name.startswith(metric.name) for name in shown), metric.name
