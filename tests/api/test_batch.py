"""`POST /predict/batch`: one result or one error for each image, in input order."""

from __future__ import annotations

import base64

import numpy as np

from tests.support.images import encoded, picture
from tests.support.responses import stable_fields


def as_json(*images: bytes) -> dict:
    return {"images": [base64.b64encode(data).decode() for data in images]}


def test_batch_returns_the_result_of_predict_for_each_image_in_input_order(client):
    images = [encoded(picture(faces, seed=faces)) for faces in (3, 0, 1, 12)]
    single = [stable_fields(client.post("/predict", content=data).json()) for data in images]
    files = [("file", (f"{index}.png", data)) for index, data in enumerate(images)]
    for response in (client.post("/predict/batch", files=files), client.post("/predict/batch", json=as_json(*images))):
        assert response.status_code == 200
        body = response.json()
        assert [stable_fields(entry) for entry in body["results"]] == single
        assert body["request_id"] == response.headers["x-request-id"]
        assert body["model"] == {"name": "fake", "version": "2026.11.1"}


def test_batch_invalid_image_fails_only_its_entry(client, classifier):
    classifier.poison = 7
    good = encoded(picture(1))
    payload = as_json(good, b"no image", b"", encoded(np.zeros((4, 4), np.uint8)), good[:40], good)
    payload["images"].insert(2, "not base64!")
    payload["images"].insert(3, 5)
    body = client.post("/predict/batch", json=payload).json()
    codes = [entry["error"]["code"] if "error" in entry else "ok" for entry in body["results"]]
    assert codes == [
        "ok",
        "unsupported_image_format",
        "invalid_base64",
        "malformed_request",
        "empty_image",
        "image_too_small",
        "undecodable_image",
        "ok",
    ]
    assert (
        stable_fields(body["results"][0])
        == stable_fields(body["results"][-1])
        == stable_fields(client.post("/predict", content=good).json())
    )
    assert all(entry["error"]["request_id"] == body["request_id"] for entry in body["results"] if "error" in entry)


def test_batch_failed_model_run_fails_only_its_entry(client, classifier):
    classifier.poison = 7
    poisoned = encoded(np.full((48, 48), 7, np.uint8))
    valid = encoded(np.full((48, 48), 90, np.uint8))
    results = client.post("/predict/batch?detect=false", json=as_json(valid, poisoned, valid)).json()["results"]
    assert [entry.get("error", {}).get("code") for entry in results] == [None, "internal", None]


def test_batch_options_apply_to_every_image(client):
    images = [encoded(picture(5)), encoded(picture(0))]
    results = client.post("/predict/batch?max_faces=1&require_face=true", json=as_json(*images)).json()["results"]
    assert len(results[0]["faces"]) == 1
    assert results[1]["error"]["code"] == "no_face_detected"


def test_batch_malformed_request_fails_as_a_whole(client):
    for arguments in ({"json": {"images": []}}, {"json": {"images": "x"}}, {"json": {}}, {"files": {"x": ("a", b"b")}}):
        response = client.post("/predict/batch", **arguments)
        assert (response.status_code, response.json()["code"]) == (400, "malformed_request")
    response = client.post("/predict/batch", content=b"x", headers={"content-type": "image/png"})
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")
