"""KServe's own client against the Open Inference Protocol. `make test-kserve` installs it into `.venv-kserve`.

The package brings 450 MB that neither the service nor its tests need, so it has an environment of its own.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.support.paths import REPOSITORY

PYTHON = REPOSITORY / ".venv-kserve" / "bin" / "python"
CROPS = np.random.default_rng(0).integers(0, 256, size=(3, 48, 48, 1), dtype=np.uint8)


@pytest.mark.skipif(not PYTHON.exists(), reason="kserve is not installed: run make test-kserve")
def test_kserve_client(make_server, classifier, tmp_path):
    np.save(tmp_path / "crops.npy", CROPS)
    driver = Path(__file__).parent / "drivers" / "kserve_client.py"
    ended = subprocess.run(
        [PYTHON, driver, make_server(), "fake", tmp_path / "crops.npy"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    returned = json.loads(ended.stdout)
    expected = ["fake", "seven", np.stack(classifier.classify(list(CROPS))).tolist()]
    for form in ("json", "binary_input", "binary_output", "json_output", "dict"):
        assert returned.pop(form) == expected, form
    assert returned == {"live": True, "ready": True, "model_ready": True, "other_ready": False, "not_found": 404}
