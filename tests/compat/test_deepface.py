"""`POST /analyze`: scripts for DeepFace's REST API run with another URL."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from app.contract.labels import LABELS
from tests.support.fakes import FAKE_CONFIDENCE
from tests.support.images import encoded, picture

PNG = encoded(picture(2))
DATA_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()
EMOTION = {"actions": ["emotion"]}


def test_analyze_returns_the_faces_of_predict_in_deepfaces_format(client):
    native = client.post("/predict", content=PNG).json()["faces"]
    answer = client.post("/analyze", json={"img": DATA_URL, **EMOTION})
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"results"}
    assert len(body["results"]) == len(native) == 2
    for face, expected in zip(body["results"], native, strict=True):
        assert list(face) == ["emotion", "dominant_emotion", "region", "face_confidence"]
        assert list(face["emotion"]) == list(LABELS)
        assert sum(face["emotion"].values()) == pytest.approx(100, abs=0.01)
        assert face["emotion"] == pytest.approx({k: 100 * v for k, v in expected["scores"].items()}, abs=1e-3)
        assert face["dominant_emotion"] == expected["emotion"]
        box = expected["box"]
        region = {"x": box["x"], "y": box["y"], "w": box["width"], "h": box["height"]}
        assert face["region"] == region | {"left_eye": None, "right_eye": None}
        assert face["face_confidence"] == expected["detection_confidence"] == FAKE_CONFIDENCE


FORMS = {
    "json img": {"json": {"img": DATA_URL, **EMOTION}},
    "json img_path": {"json": {"img_path": DATA_URL, **EMOTION}},
    "json without actions": {"json": {"img": DATA_URL}},
    "json as a script sends it": {
        "json": {
            "img": DATA_URL,
            "actions": ["emotion"],
            "detector_backend": "retinaface",
            "enforce_detection": False,
            "align": True,
            "silent": True,
            "anti_spoofing": False,
            "expand_percentage": 0,
        }
    },
    "multipart file": {"files": {"img": ("a.png", PNG)}, "data": {"actions": '["emotion"]'}},
    "multipart text": {"files": {"x": (None, "y")}, "data": {"img": DATA_URL, "actions": "emotion"}},
    "web form": {"data": {"img": DATA_URL, "actions": "('emotion',)".replace(",", "")}},
}


@pytest.mark.parametrize("form", FORMS)
def test_analyze_returns_the_same_answer_for_every_request_form(client, form):
    answer = client.post("/analyze", **FORMS[form])
    assert answer.status_code == 200, answer.text
    assert answer.json() == client.post("/analyze", json={"img": DATA_URL}).json()


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (b"a=b&" * 1001, "fields"),
        (b"img=" + b"%41" * 1300, "1300"),
        (b"img=" + b"%41" * 1100, "no URLs"),
        (b"a=b&" * 900, "'img' not found"),
    ],
)
def test_analyze_form_with_too_many_fields_or_escapes_is_refused(client, form, expected):
    answer = client.post("/analyze", content=form, headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert (answer.status_code, expected in answer.json()["exception"]) == (400, True), answer.text


def test_analyze_accepts_a_large_data_url_in_a_form(client):
    noise = encoded(np.random.default_rng(0).integers(0, 200, size=(1200, 1200), dtype=np.uint8))
    url = "data:image/png;base64," + base64.b64encode(noise).decode()
    fields = {"img": url, "enforce_detection": "false"}
    assert client.post("/analyze", data=fields, files={"x": (None, "y")}).status_code == 200


def test_analyze_without_a_face_returns_an_error_or_analyses_the_whole_image(client):
    empty = "data:image/png;base64," + base64.b64encode(encoded(picture(0))).decode()
    answer = client.post("/analyze", json={"img": empty, **EMOTION})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("Exception while analyzing: Face could not be detected")
    for enforce in (False, "false"):
        (face,) = client.post("/analyze", json={"img": empty, "enforce_detection": enforce}).json()["results"]
        assert face["region"] == {"x": 0, "y": 0, "w": 160, "h": 120, "left_eye": None, "right_eye": None}
        assert face["face_confidence"] == 0


def test_analyze_with_skip_classifies_the_whole_image(client):
    (face,) = client.post("/analyze", json={"img": DATA_URL, "detector_backend": "skip"}).json()["results"]
    assert (face["region"]["w"], face["region"]["h"]) == (160, 120)


def test_analyze_max_faces_keeps_the_largest(client):
    both = client.post("/analyze", json={"img": DATA_URL}).json()["results"]
    assert client.post("/analyze", json={"img": DATA_URL, "max_faces": 1}).json()["results"] == both[:1]


@pytest.mark.parametrize(
    "image", ["https://example.org/a.jpg", "/etc/passwd", "photo.jpg", base64.b64encode(PNG).decode(), 5, ["x"]]
)
def test_analyze_refuses_urls_and_paths(client, image):
    answer = client.post("/analyze", json={"img": image})
    assert answer.status_code == 400
    assert "no URLs and no paths" in answer.json()["exception"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"actions": ["age", "emotion"]}, "actions: this service analyses emotion only. Received: age, emotion"),
        ({"actions": "['race']"}, "this service analyses emotion only. Received: race"),
        ({"actions": []}, "this service analyses emotion only. Received: none"),
        ({"actions": ["smile"]}, "actions"),
        ({"actions": 5}, "actions"),
        ({"max_faces": 0}, "max_faces"),
        ({"max_faces": "many"}, "max_faces"),
        ({"detector_backend": "eyes"}, "invalid detector_backend passed - eyes"),
        ({"anti_spoofing": True}, "anti_spoofing: expected false"),
        ({"expand_percentage": 10}, "expand_percentage: expected 0"),
        ({"enforce_detection": "perhaps"}, "enforce_detection"),
    ],
)
def test_analyze_refuses_unsupported_options(client, arguments, sentence):
    answer = client.post("/analyze", json={"img": DATA_URL} | arguments)
    assert answer.status_code == 400
    assert sentence in answer.json()["error"]


def test_analyze_request_without_an_image_returns_an_exception(client):
    for arguments in (
        {"json": {}},
        {"content": b"{"},
        {"json": [1]},
        {"files": {"other": ("a", b"b")}},
        {"content": b""},
    ):
        answer = client.post("/analyze", **arguments)
        assert (answer.status_code, list(answer.json())) == (400, ["exception"]), arguments


def test_analyze_applies_limits_in_deepfaces_format(make_client, classifier):
    closed = make_client(api_keys="key", max_body_bytes=2048)
    assert list(closed.post("/analyze", json={}).json()) == ["error"]
    assert closed.post("/analyze", json={}).status_code == 401
    large = closed.post("/analyze", json={"img": "x" * 4096}, headers={"X-API-Key": "key"})
    assert (large.status_code, list(large.json())) == (413, ["error"])
    full = make_client(max_queue=1)
    permit = full.app.state.service.admission.acquire(0)
    permit.__enter__()
    refused = full.post("/analyze", json={"img": DATA_URL})
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert 'fer_rejections_total{reason="overloaded"} 1.0' in full.get("/metrics").text


def test_analyze_failure_does_not_reveal_its_cause(client, classifier):
    classifier.poison = 7
    poisoned = "data:image/png;base64," + base64.b64encode(encoded(np.full((48, 48), 7, np.uint8))).decode()
    answer = client.post("/analyze", json={"img": poisoned, "detector_backend": "skip"})
    assert answer.status_code == 500
    assert "secret" not in answer.text


def test_analyze_does_not_exist_without_compat(make_client):
    assert make_client(compat=False).post("/analyze", json={"img": DATA_URL}).status_code == 404


def test_analyze_returns_the_eyes_where_the_detector_knows_them(landmark_client):
    image = "data:image/png;base64," + base64.b64encode(PNG).decode()
    answer = landmark_client.post("/analyze", json={"img": image, "detector_backend": "yunet"})
    region = answer.json()["results"][0]["region"]
    assert (region["right_eye"], region["left_eye"]) == ([10, 12], [30, 19])  # the person's own right and left
