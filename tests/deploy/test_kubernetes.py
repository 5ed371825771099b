"""Tests of the Kubernetes manifests: valid for the API, and consistent with the service."""

from __future__ import annotations

import re
from typing import Any

import kubernetes_validate
import pytest
import yaml

from app.config import ENV_PREFIX, Settings
from app.main import create_app
from tests.deploy.kubernetes_objects import DIRECTORY, OVERLAYS, build, builder, validate
from tests.deploy.test_monitoring import series_of_the_service

pytestmark = pytest.mark.skipif(builder() is None, reason="neither kustomize nor kubectl is installed")


@pytest.fixture(scope="module", params=OVERLAYS)
def objects(request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    return {obj["kind"]: obj for obj in build(request.param)}


@pytest.fixture(scope="module")
def pod(objects: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return objects["Deployment"]["spec"]["template"]["spec"]


@pytest.fixture(scope="module")
def container(pod: dict[str, Any]) -> dict[str, Any]:
    (only,) = pod["containers"]
    return only


def test_every_object_is_valid(objects):
    assert set(objects) == {
        "Namespace",
        "ServiceAccount",
        "Deployment",
        "Service",
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
        "NetworkPolicy",
        "ServiceMonitor",
    }
    for obj in objects.values():
        validate(obj)


def test_validation_reports_a_misspelled_field(objects):
    deployment = yaml.safe_load(yaml.safe_dump(objects["Deployment"]))
    deployment["spec"]["template"]["spec"]["enableServiceLink"] = False
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(deployment)
    monitor = yaml.safe_load(yaml.safe_dump(objects["ServiceMonitor"]))
    monitor["spec"]["endpoints"][0]["intervall"] = "15s"
    with pytest.raises(ValueError, match="unknown or changed fields"):
        validate(monitor)


def test_every_selector_matches_the_pods(objects):
    labels = objects["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert objects["Service"]["spec"]["selector"].items() <= labels.items()
    for kind, path in (
        ("Deployment", "selector"),
        ("PodDisruptionBudget", "selector"),
        ("NetworkPolicy", "podSelector"),
    ):
        assert objects[kind]["spec"][path]["matchLabels"].items() <= labels.items()
    wanted = objects["ServiceMonitor"]["spec"]["selector"]["matchLabels"]
    assert wanted.items() <= objects["Service"]["metadata"]["labels"].items()
    for constraint in objects["Deployment"]["spec"]["template"]["spec"]["topologySpreadConstraints"]:
        assert constraint["labelSelector"]["matchLabels"].items() <= labels.items()


def test_probes_use_existing_routes(container, objects):
    routes = set(create_app(Settings()).openapi()["paths"])
    paths = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")}
    assert paths == {"startup": "/readyz", "readiness": "/readyz", "liveness": "/healthz"}
    (endpoint,) = objects["ServiceMonitor"]["spec"]["endpoints"]
    assert {*paths.values(), endpoint["path"]} <= routes


def test_named_ports_refer_to_the_container_port(container, objects):
    (port,) = container["ports"]
    assert port["containerPort"] == Settings().port
    (service_port,) = objects["Service"]["spec"]["ports"]
    assert service_port["targetPort"] == port["name"]
    assert objects["ServiceMonitor"]["spec"]["endpoints"][0]["port"] == service_port["name"]
    assert objects["NetworkPolicy"]["spec"]["ingress"][0]["ports"][0]["port"] == port["name"]


def test_settings_are_known_and_service_links_are_disabled(container, pod, objects):
    known = {ENV_PREFIX + field.upper() for field in Settings.model_fields}
    assert {entry["name"] for entry in container["env"]} <= known
    injected = objects["Service"]["metadata"]["name"].upper().replace("-", "_") + "_SERVICE_HOST"
    assert injected.startswith(ENV_PREFIX)  # service links would add this variable
    assert pod["enableServiceLinks"] is False


def test_grace_period_is_longer_than_pre_stop_drain_and_last_requests(container, pod):
    from app.process import LAST_REQUESTS_S

    program, pre_stop_s = container["lifecycle"]["preStop"]["exec"]["command"]
    assert program == "sleep"
    drain_s = next(float(entry["value"]) for entry in container["env"] if entry["name"] == "FER_DRAIN_S")
    assert pod["terminationGracePeriodSeconds"] > int(pre_stop_s) + drain_s + LAST_REQUESTS_S
    probe = container["readinessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] < drain_s


def test_pod_meets_the_restricted_security_standard(container, pod):
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001  # as in the Dockerfile
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_autoscaler_uses_metrics_of_the_adapter_and_the_service(objects):
    used = {
        metric["pods"]["metric"]["name"]
        for metric in objects["HorizontalPodAutoscaler"]["spec"]["metrics"]
        if metric["type"] == "Pods"
    }
    (rule,) = yaml.safe_load((DIRECTORY / "prometheus-adapter-values.yaml").read_text())["rules"]["custom"]
    (pattern,) = re.findall(r'__name__=~"([^"]*)"', rule["seriesQuery"])
    assert used == set(pattern.split("|")) <= series_of_the_service()


def test_only_the_autoscaler_sets_the_number_of_replicas(objects):
    assert "replicas" not in objects["Deployment"]["spec"]
    target = objects["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", objects["Deployment"]["metadata"]["name"])


def test_only_the_gpu_overlay_requests_a_gpu():
    for overlay, image, device in (("cpu", "fer-serve:cpu", "cpu"), ("gpu", "fer-serve:gpu", "cuda")):
        (deployment,) = [obj for obj in build(overlay) if obj["kind"] == "Deployment"]
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert container["image"] == image
        assert {"name": "FER_DEVICE", "value": device} in container["env"]
        assert ("nvidia.com/gpu" in container["resources"]["limits"]) == (overlay == "gpu")


def test_job_label_equals_the_label_in_the_alerts(objects):
    (endpoint,) = objects["ServiceMonitor"]["spec"]["endpoints"]
    assert {"action": "replace", "targetLabel": "job", "replacement": "fer"} in endpoint["relabelings"]
