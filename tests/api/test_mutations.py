"""Mutated requests of every form get a prediction or a problem document with a 4xx status."""

from __future__ import annotations

import base64
import json
import os

import numpy as np
import pytest

from tests.support.images import PNG
from tests.support.mutations import mutated

COUNT = int(os.environ.get("FER_TEST_MUTATIONS", "3000")) // 8
BOUNDARY = "0123456789abcdef"
BASE64 = base64.b64encode(PNG).decode()
MULTIPART = (
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
).encode()
FORMS = {
    f"multipart/form-data; boundary={BOUNDARY}": [
        MULTIPART + PNG + f"\r\n--{BOUNDARY}--\r\n".encode(),
        MULTIPART + PNG + b"\r\n" + MULTIPART + PNG + f"\r\n--{BOUNDARY}--\r\n".encode(),
    ],
    "application/json": [
        json.dumps({"image": BASE64}).encode(),
        json.dumps({"images": [BASE64, f"data:image/png;base64,{BASE64}"]}).encode(),
    ],
    "image/png": [PNG],
}


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
@pytest.mark.parametrize("media_type", FORMS)
def test_mutated_request_gets_a_prediction_or_a_problem(client, path, media_type):
    generator = np.random.default_rng(0)
    for data in mutated(FORMS[media_type], COUNT, seed=len(path)):
        sent_type = media_type
        if generator.random() < 0.1:  # a truncated header too
            sent_type = media_type[: int(generator.integers(len(media_type)))]
        response = client.post(path, content=data, headers={"Content-Type": sent_type})
        assert response.status_code in {200, 400, 413, 415, 422}, (response.status_code, data.hex())
        if response.status_code != 200:
            assert response.headers["content-type"] == "application/problem+json"
            assert set(response.json()) == {"type", "title", "status", "detail", "code", "request_id"}
        else:
            for result in response.json().get("results", []):
                assert result.get("error", {"status": 422})["status"] < 500


@pytest.mark.parametrize(
    "query",
    [
        "max_faces=nan",
        "max_faces=-1",
        "max_faces=99999999999999999999999999",
        "max_faces=1e3",
        "max_faces=",
        "min_face_size=-0.5",
        "min_face_size=inf",
        "detect=perhaps",
        "require_face=%00",
        "max_faces=1&max_faces=x",
    ],
)
def test_invalid_parameter_is_refused_with_its_name(client, query):
    response = client.post(f"/predict?{query}", content=PNG)
    assert response.status_code == 422
    assert query.partition("=")[0] in response.json()["detail"]
