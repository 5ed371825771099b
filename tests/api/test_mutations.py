"""Spoiled requests of every form: always the answer or an error of ours, never a 5xx."""

from __future__ import annotations

import base64
import json
import os

import numpy as np
import pytest

from tests.support.images import encoded, picture
from tests.support.mutations import mutated

COUNT = int(os.environ.get("FER_TEST_MUTATIONS", "3000")) // 8
BOUNDARY = "0123456789abcdef"
IMAGE = encoded(picture(1))
BASE64 = base64.b64encode(IMAGE).decode()
MULTIPART = (
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
).encode()
FORMS = {
    f"multipart/form-data; boundary={BOUNDARY}": [
        MULTIPART + IMAGE + f"\r\n--{BOUNDARY}--\r\n".encode(),
        MULTIPART + IMAGE + b"\r\n" + MULTIPART + IMAGE + f"\r\n--{BOUNDARY}--\r\n".encode(),
    ],
    "application/json": [
        json.dumps({"image": BASE64}).encode(),
        json.dumps({"images": [BASE64, f"data:image/png;base64,{BASE64}"]}).encode(),
    ],
    "image/png": [IMAGE],
}


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
@pytest.mark.parametrize("media_type", FORMS)
def test_mutated_request_is_answered_or_refused(client, path, media_type):
    generator = np.random.default_rng(0)
    for data in mutated(FORMS[media_type], COUNT, seed=len(path)):
        sent_type = media_type
        if generator.random() < 0.1:  # a spoiled header too
            sent_type = media_type[: int(generator.integers(len(media_type)))]
        answer = client.post(path, content=data, headers={"Content-Type": sent_type})
        assert answer.status_code in {200, 400, 413, 415, 422}, (answer.status_code, data.hex())
        if answer.status_code != 200:
            assert answer.headers["content-type"] == "application/problem+json"
            assert set(answer.json()) == {"type", "title", "status", "detail", "code", "request_id"}
        else:
            for result in answer.json().get("results", []):
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
def test_odd_parameters_are_refused_with_their_name(client, query):
    answer = client.post(f"/predict?{query}", content=IMAGE)
    assert answer.status_code == 422
    assert query.partition("=")[0] in answer.json()["detail"]
