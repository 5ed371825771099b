"""Tests of the Compose and Swarm files, without Docker."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from app.config import ENV_PREFIX, Settings
from app.main import create_app
from tests.support.paths import REPOSITORY

COMPOSE_FILES = (
    "docker-compose.yml",
    "docker-compose.gpu.yml",
    "deploy/swarm/stack.yml",
    "deploy/swarm/gpu.yml",
    "deploy/swarm/keys.yml",
    "tests/e2e/stand-ins/compose.yml",
)


def load(name: str) -> dict[str, Any]:
    return yaml.safe_load((REPOSITORY / name).read_text())


def environment(service: dict[str, Any]) -> dict[str, str | None]:
    given = service.get("environment", {})
    if isinstance(given, dict):
        return given
    return {name: value or None for name, _, value in (entry.partition("=") for entry in given)}


@pytest.mark.parametrize("name", COMPOSE_FILES)
def test_settings_of_every_service_are_known(name):
    known = {ENV_PREFIX + field.upper() for field in Settings.model_fields}
    for service in load(name)["services"].values():
        assert {variable for variable in environment(service) if variable.startswith(ENV_PREFIX)} <= known


def test_compose_up_without_profile_starts_one_service():
    services = load("docker-compose.yml")["services"]
    assert [name for name, service in services.items() if not service.get("profiles")] == ["fer"]


def test_replica_equals_the_service_without_its_published_port():
    services = load("docker-compose.yml")["services"]
    fer = {key: value for key, value in services["fer"].items() if key != "ports"}
    replica = {key: value for key, value in services["replica"].items() if key not in {"profiles", "deploy"}}
    assert replica == fer


def test_gpu_variant_covers_every_service_with_the_fer_image():
    serving = {
        name for name, service in load("docker-compose.yml")["services"].items() if service["image"] == "fer-serve:cpu"
    }
    gpu = load("docker-compose.gpu.yml")["services"]
    assert set(gpu) == serving
    assert all(service["image"] == "fer-serve:gpu" for service in gpu.values())
    assert all(environment(service)["FER_DEVICE"] == "cuda" for service in gpu.values())


@pytest.mark.parametrize("name", ["docker-compose.yml", "deploy/swarm/stack.yml"])
def test_every_service_is_read_only_and_has_no_capabilities(name):
    for service in load(name)["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("name", ["docker-compose.yml", "deploy/swarm/stack.yml"])
def test_stop_grace_period_is_longer_than_the_drain_and_the_last_requests(name):
    from app.process import LAST_REQUESTS_S

    grace_s = int(load(name)["services"]["fer"]["stop_grace_period"].removesuffix("s"))
    assert grace_s > Settings().drain_s + LAST_REQUESTS_S


@pytest.mark.parametrize("name", ["docker-compose.yml", "deploy/swarm/stack.yml"])
def test_load_balancer_and_prometheus_resolve_the_alias_of_the_replicas(name):
    aliases = load(name)["services"]["fer"]["networks"]["default"]["aliases"]
    (template,) = re.findall(r"server-template \S+ \S+ (\w+):(\d+)", haproxy())
    scraped = prometheus_jobs()["fer"]["dns_sd_configs"][0]
    assert aliases == [template[0]] == scraped["names"]
    assert int(template[1]) == scraped["port"] == Settings().port


def test_swarm_resolves_each_task_and_rolls_back_failed_updates():
    deploy = load("deploy/swarm/stack.yml")["services"]["fer"]["deploy"]
    assert deploy["endpoint_mode"] == "dnsrr"
    assert (deploy["update_config"]["order"], deploy["update_config"]["failure_action"]) == ("start-first", "rollback")


def test_swarm_checks_health_with_the_program_of_the_image():
    assert load("deploy/swarm/stack.yml")["services"]["fer"]["healthcheck"]["test"] == [
        "CMD",
        "healthcheck",
        "--draining",
    ]


@pytest.mark.parametrize("name", ["docker-compose.yml", "deploy/swarm/stack.yml"])
def test_logs_of_every_service_rotate(name):
    for service in load(name)["services"].values():
        assert service["logging"]["driver"] == "json-file"
        assert set(service["logging"]["options"]) == {"max-size", "max-file"}


def test_swarm_keys_are_files_that_the_service_reads():
    service = load("deploy/swarm/keys.yml")["services"]["fer"]
    targets = {f"/run/secrets/{secret['target']}" for secret in service["secrets"]}
    assert targets == set(service["environment"].values())
    assert set(service["environment"]) == {"FER_API_KEYS_FILE", "FER_ADMIN_KEYS_FILE"}
    assert {secret["uid"] for secret in service["secrets"]} == {"10001"}  # as in the Dockerfile


def test_load_balancer_checks_an_existing_route():
    routes = set(create_app(Settings()).openapi()["paths"])
    checked = re.findall(r"http-check send meth GET uri (\S+)", haproxy())
    assert checked == ["/readyz"]
    assert set(checked) <= routes


def test_load_balancer_retries_only_requests_without_work_done():
    (events,) = re.findall(r"^\s*retry-on (.*)$", haproxy(), re.MULTILINE)
    assert set(events.split()) == {"conn-failure", "503"}


def test_load_balancer_removes_a_replica_before_its_drain_ends():
    check = re.search(r"inter (\d+)s fastinter (\d+)ms .* fall (\d+)", haproxy())
    slowest_s = int(check[1]) + (int(check[3]) - 1) * int(check[2]) / 1000
    assert slowest_s * 2 < Settings().drain_s


def haproxy() -> str:
    return (REPOSITORY / "deploy" / "haproxy" / "haproxy.cfg").read_text()


def prometheus_jobs() -> dict[str, Any]:
    return {job["job_name"]: job for job in load("deploy/prometheus/prometheus.yml")["scrape_configs"]}
