"""Builds an overlay and validates what comes out, strictly: an unknown field is an error.

Objects of Kubernetes itself against its OpenAPI schemas, the ServiceMonitor against the operator's models. No cluster.
`python -m tests.deploy.kubernetes_objects` tells of every object.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import Any

import kubernetes_validate
import yaml
from cloudcoil.models.prometheus_operator.v1 import ServiceMonitor

from tests.support.paths import REPOSITORY

KUBERNETES_VERSION = "1.37"
OVERLAYS = ("cpu", "gpu")
DIRECTORY = REPOSITORY / "deploy" / "kubernetes"


def builder() -> list[str] | None:
    """The command that builds an overlay: kustomize, or the one within kubectl."""
    if shutil.which("kustomize"):
        return ["kustomize", "build"]
    return ["kubectl", "kustomize"] if shutil.which("kubectl") else None


def build(overlay: str) -> list[dict[str, Any]]:
    """The objects of an overlay, as `kubectl apply -k` would send them."""
    command = builder()
    assert command is not None
    built = subprocess.run(
        [*command, DIRECTORY / "overlays" / overlay], capture_output=True, text=True, timeout=60, check=False
    )
    assert built.returncode == 0, built.stderr
    return list(yaml.safe_load_all(built.stdout))


def validate(obj: dict[str, Any]) -> str:
    """Raises where the object is not what its API takes; returns what it was held against."""
    if obj["apiVersion"] == "monitoring.coreos.com/v1":
        known = ServiceMonitor.model_validate(obj).model_dump(by_alias=True, exclude_none=True, mode="json")
        if known != obj:  # the models drop what they do not know
            raise ValueError(f"unknown or changed fields. Received: {json.dumps(obj)}; known: {json.dumps(known)}")
        return "the Prometheus operator's models"
    return f"Kubernetes {kubernetes_validate.validate(obj, KUBERNETES_VERSION, strict=True)}"


def main() -> int:
    """Prints a line for each object."""
    if builder() is None:
        print("neither kustomize nor kubectl is installed", file=sys.stderr)
        return 1
    for overlay in OVERLAYS:
        for obj in build(overlay):
            print(f"{overlay}: {obj['kind']} {obj['metadata']['name']} is valid ({validate(obj)})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
