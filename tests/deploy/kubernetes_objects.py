"""Build the Kubernetes overlays and validate their objects without a cluster.

Objects of Kubernetes are validated with its OpenAPI schemas, the ServiceMonitor with the operator's models. An unknown
field is an error. `python -m tests.deploy.kubernetes_objects` prints a line for each object.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import Any

import kubernetes_validate
import yaml

from tests.support.paths import REPOSITORY

KUBERNETES_VERSION = "1.37"
OVERLAYS = ("cpu", "gpu")
DIRECTORY = REPOSITORY / "deploy" / "kubernetes"


def builder() -> list[str] | None:
    """Return the command that builds an overlay: kustomize, or kubectl, or None if neither is installed."""
    if shutil.which("kustomize"):
        return ["kustomize", "build"]
    return ["kubectl", "kustomize"] if shutil.which("kubectl") else None


def build(overlay: str) -> list[dict[str, Any]]:
    """Return the objects of an overlay, as `kubectl apply -k` sends them."""
    command = builder()
    assert command is not None
    built = subprocess.run(
        [*command, DIRECTORY / "overlays" / overlay], capture_output=True, text=True, timeout=60, check=False
    )
    assert built.returncode == 0, built.stderr
    return list(yaml.safe_load_all(built.stdout))


def validate(obj: dict[str, Any]) -> str:
    """Return the name of the schema that the object satisfies.

    Raises:
        ValueError: The object does not satisfy its schema.
        kubernetes_validate.ValidationError: The object does not satisfy its schema.
    """
    if obj["apiVersion"] == "monitoring.coreos.com/v1":
        # Imported here, because the import takes two seconds of every test process.
        from cloudcoil.models.prometheus_operator.v1 import ServiceMonitor

        known = ServiceMonitor.model_validate(obj).model_dump(by_alias=True, exclude_none=True, mode="json")
        if known != obj:  # the models drop unknown fields
            raise ValueError(f"unknown or changed fields. Received: {json.dumps(obj)}; known: {json.dumps(known)}")
        return "the Prometheus operator's models"
    return f"Kubernetes {kubernetes_validate.validate(obj, KUBERNETES_VERSION, strict=True)}"


def main() -> int:
    """Print a line for each object. Return 1 if no build command is installed."""
    if builder() is None:
        print("neither kustomize nor kubectl is installed", file=sys.stderr)
        return 1
    for overlay in OVERLAYS:
        for obj in build(overlay):
            print(f"{overlay}: {obj['kind']} {obj['metadata']['name']} is valid ({validate(obj)})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
