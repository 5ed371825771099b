"""`POST /predict`: request forms and the fields of the response."""

from __future__ import annotations

import base64
from urllib.parse import quote

import numpy as np
import pytest

from app.contract.labels import LABELS
from tests.support.fakes import FAKE_CONFIDENCE
from tests.support.images import PNG, encoded, picture
from tests.support.jpeg_files import flat_jpeg
from tests.support.responses import stable_fields


def test_predict_one_face_returns_the_documented_fields(client):
    response = client.post("/predict", files={"file": ("a.png", encoded(picture(1)))})
    assert response.status_code == 200
    body = response.json()
    assert set(body) == {
        "emotion",
        "confidence",
        "scores",
        "faces",
        "image",
        "model",
        "timings_ms",
        "request_id",
        "warnings",
    }
    (face,) = body["faces"]
    assert face["box"] == {"x": 0, "y": 0, "width": 40, "height": 40}
    assert face["detection_confidence"] == FAKE_CONFIDENCE
    assert list(face["scores"]) == list(LABELS)
    assert sum(face["scores"].values()) == pytest.approx(1, abs=1e-3)
    assert face["confidence"] == max(face["scores"].values()) == face["scores"][face["emotion"]]
    assert {key: body[key] for key in ("emotion", "confidence", "scores")} == {
        key: face[key] for key in ("emotion", "confidence", "scores")
    }
    assert body["image"] == {"width": 160, "height": 120}
    assert body["model"] == {"name": "fake", "version": "2026.11.1"}
    assert set(body["timings_ms"]) == {"vision_queue", "decode", "detect", "queue", "infer", "total"}
    assert body["request_id"] == response.headers["x-request-id"]
    assert body["warnings"] == []


def multipart_with(data: bytes, before: bytes = b"", after: bytes = b"") -> dict:
    """Return a request with a multipart body between other bytes."""
    part = b'--cut\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n' + data + b"\r\n--cut--"
    return {"content": before + part + after, "headers": {"content-type": "multipart/form-data; boundary=cut"}}


def request_forms() -> dict[str, dict]:
    data = encoded(picture(3))
    text = base64.b64encode(data).decode()
    url_safe = base64.urlsafe_b64encode(data).decode()
    wrapped = "\r\n ".join(text[start : start + 76] for start in range(0, len(text), 76))
    forms: dict[str, dict] = {
        "multipart file": {"files": {"file": ("a.png", data)}},
        "multipart image": {"files": {"image": ("a.png", data)}},
        "multipart wrong part type": {"files": {"file": ("a.txt", data, "text/plain")}},
        "json url-safe": {"json": {"image": url_safe}},
        "json no padding": {"json": {"image": text.rstrip("=")}},
        "json wrapped": {"json": {"image": f" {wrapped}\n"}},
        "json data url": {"json": {"image": f"data:image/png;base64,{text}"}},
        "json data url without type": {"json": {"image": f"data:;base64,{text}"}},
        "json data url of octets": {"json": {"image": f"data:application/octet-stream;base64,{text}"}},
        "json data url of text": {"json": {"image": f"data:text/plain;charset=US-ASCII;base64,{text}"}},
        "json data url with a name": {"json": {"image": f"Data:image/png;name=a.png; BASE64,{text}"}},
        "json data url with escapes": {"json": {"image": f"data:image/png;base64,{quote(text)}"}},
        "raw png": {"content": data, "headers": {"content-type": "image/png"}},
        "raw with a wrong type": {"content": data, "headers": {"content-type": "image/jpeg"}},
        "raw octets": {"content": data, "headers": {"content-type": "application/octet-stream"}},
        "raw without type": {"content": data},
        "multipart with a preamble": multipart_with(data, before=b"This is a multi-part message.\r\n\r\n--\r\n"),
        "multipart with an epilogue": multipart_with(data, after=b"\r\nThis is the end.\r\n--cut\r\n"),
        "curl --data-binary": {"content": data, "headers": {"content-type": "application/x-www-form-urlencoded"}},
        "json with charset": {
            "content": f'{{"image": "{text}"}}',
            "headers": {"content-type": "application/json; charset=utf-8"},
        },
    }
    for kind in (
        "binary/octet-stream",
        "image/*",
        "application/x-octet-stream",
        "application/binary",
        "video/mp4",
        "*/*",
    ):
        forms[f"raw {kind}"] = {"content": data, "headers": {"content-type": kind}}
    for alias in ("image", "image_base64", "file", "img"):
        forms[f"json {alias}"] = {"json": {alias: text}}
    return forms


@pytest.mark.parametrize("form", request_forms())
def test_predict_returns_the_same_for_every_request_form(client, form):
    reference = client.post("/predict", files={"file": ("a.png", encoded(picture(3)))}).json()
    response = client.post("/predict", **request_forms()[form])
    assert response.status_code == 200, response.text
    assert stable_fields(response.json()) == stable_fields(reference)
    assert len(reference["faces"]) == 3


def test_predict_without_a_face_returns_an_empty_list_and_a_warning(client):
    body = client.post("/predict", content=encoded(picture(0))).json()
    assert (body["emotion"], body["confidence"], body["scores"]) == (None, None, None)
    assert (body["faces"], body["warnings"]) == ([], ["no_face_detected"])
    assert "hint" not in body


@pytest.mark.parametrize("size", [(8160, 6120), (12_000, 9000), (16_320, 12_240), (20_000, 1000)])
def test_predict_answers_huge_jpegs_in_pixels_of_the_full_image(client, size):
    body = client.post("/predict", content=flat_jpeg("RGB", *size)).json()
    assert body["image"] == {"width": size[0], "height": size[1]}
    (face,) = client.post("/predict?detect=false", content=flat_jpeg("L", *size)).json()["faces"]
    assert face["box"] == {"x": 0, "y": 0, "width": size[0], "height": size[1]}


def test_predict_accepts_a_body_of_20_mib(client):
    photo = encoded(picture(1), "JPEG", quality=95)
    assert client.post("/predict", content=photo + bytes(20 * 2**20 - len(photo))).status_code == 200
    assert client.post("/predict", content=photo + bytes(20 * 2**20 - len(photo) + 1)).status_code == 413


def test_predict_small_image_without_a_face_explains_detect_false(client):
    small = encoded(picture(0)[:96, :96])
    body = client.post("/predict", content=small).json()
    assert body["warnings"] == ["no_face_detected", "small_image"]
    assert "96x96" in body["hint"]
    assert "detect=false" in body["hint"]
    refused = client.post("/predict?require_face=true", content=small).json()
    assert (refused["code"], "detect=false" in refused["detail"]) == ("no_face_detected", True)
    for answered in (
        client.post("/predict?detect=false", content=small).json(),
        client.post("/predict", content=encoded(picture(1)[:96, :96])).json(),
    ):
        assert len(answered["faces"]) == 1
        assert answered["warnings"] == []
        assert "hint" not in answered


def test_predict_detect_false_classifies_the_whole_image(client):
    body = client.post("/predict?detect=false", content=encoded(picture(0))).json()
    (face,) = body["faces"]
    assert face["box"] == {"x": 0, "y": 0, "width": 160, "height": 120}
    assert face["detection_confidence"] is None
    assert body["warnings"] == []


def test_predict_exif_orientation_returns_boxes_of_the_upright_image(client):
    upright = picture(1)
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    stored = np.rot90(upright)  # orientation 6: the stored image must be rotated by 90 degrees clockwise
    rotated = client.post("/predict", content=encoded(stored, "JPEG", quality=100, exif=exif)).json()
    assert rotated["image"] == {"width": 160, "height": 120}
    assert rotated["faces"][0]["box"] == {"x": 0, "y": 0, "width": 40, "height": 40}


def test_predict_many_faces_run_in_few_batches(client, classifier):
    assert len(client.post("/predict", content=encoded(picture(12))).json()["faces"]) == 12
    assert sum(classifier.batches) == 12
    assert len(classifier.batches) <= 2


def test_predict_keeps_uploads_above_a_megabyte_in_memory(client, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 200, size=(1200, 1200), dtype=np.uint8)
    data = encoded(noise)
    assert len(data) > 1024 * 1024

    def rollover(self):
        raise AssertionError("the upload was written to a temporary file")

    monkeypatch.setattr("tempfile.SpooledTemporaryFile.rollover", rollover)
    assert client.post("/predict", files={"file": ("a.png", data)}).status_code == 200


def test_predict_returns_roll_and_landmarks_where_the_detector_knows_them(client, landmark_client):
    (unknown,) = client.post("/predict", content=PNG).json()["faces"]
    assert (unknown["roll_degrees"], unknown["landmarks"]) == (None, None)
    (face,) = landmark_client.post("/predict", content=PNG).json()["faces"]
    assert face["roll_degrees"] == 20.0
    assert list(face["landmarks"]) == ["right_eye", "left_eye", "nose", "right_mouth_corner", "left_mouth_corner"]
    assert face["landmarks"]["right_eye"] == {"x": 10.0, "y": 12.0}
    (entry,) = landmark_client.post("/predict/batch", files=[("file", PNG)]).json()["results"]
    assert entry["faces"][0]["landmarks"] == face["landmarks"]
    with landmark_client.websocket_connect("/ws") as stream:
        stream.send_bytes(PNG)
        frame = stream.receive_json()
    assert (frame["faces"][0]["roll_degrees"], frame["faces"][0]["landmarks"]) == (20.0, face["landmarks"])
