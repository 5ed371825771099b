"""The options of `/predict` and `/predict/batch`: in the query, as keys of a JSON body, as text parts of a form."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from app.errors import ErrorCode
from tests.support.fakes import FAKE_CONFIDENCE, SET_THRESHOLDS
from tests.support.images import PNG, encoded, picture
from tests.support.responses import assert_problem

FIVE_FACES, NO_FACE = encoded(picture(5)), encoded(picture(0))

on_both_routes = pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
in_every_place = pytest.mark.parametrize("place", ["query", "json", "form"])
in_a_body = pytest.mark.parametrize("place", ["json", "form"])


def post(client, path: str, place: str, image: bytes, options: dict[str, Any], query: str = ""):
    """Send an image with options in the query, in a JSON body or in a form; return the response."""
    text = base64.b64encode(image).decode()
    files = {"file": ("a.png", image)}
    if place == "query":
        return client.post(path, params=options, files=files)
    if place == "json":
        body = {"images": [text]} if path.endswith("batch") else {"image": text}
        return client.post(f"{path}?{query}", json=body | options)
    return client.post(
        f"{path}?{query}", files=files, data={name: json.dumps(value) for name, value in options.items()}
    )


def predict(client, path: str, *arguments: Any, **query: str) -> dict:
    """Send an image like `post`; return its prediction or its problem document."""
    body = post(client, path, *arguments, **query).json()
    if path.endswith("batch"):
        (body,) = body["results"]
    return body.get("error", body)


@on_both_routes
@in_every_place
def test_detect_false_classifies_the_whole_image(client, path, place):
    (face,) = predict(client, path, place, NO_FACE, {"detect": False})["faces"]
    assert face["box"] == {"x": 0, "y": 0, "width": 160, "height": 120}


@on_both_routes
@in_every_place
def test_max_faces_keeps_the_largest_faces(client, path, place):
    faces = client.post("/predict", content=FIVE_FACES).json()["faces"]
    assert len(faces) == 5
    assert predict(client, path, place, FIVE_FACES, {"max_faces": 2})["faces"] == faces[:2]


@on_both_routes
@in_every_place
def test_min_face_size_drops_smaller_faces(client, path, place):
    assert len(predict(client, path, place, FIVE_FACES, {"min_face_size": 40})["faces"]) == 5
    assert predict(client, path, place, FIVE_FACES, {"min_face_size": 41})["faces"] == []


@on_both_routes
@in_every_place
def test_min_detection_confidence_drops_less_certain_faces(client, path, place):
    options = {"min_detection_confidence": FAKE_CONFIDENCE}
    assert len(predict(client, path, place, FIVE_FACES, options)["faces"]) == 5
    options = {"min_detection_confidence": FAKE_CONFIDENCE + 0.01}
    assert predict(client, path, place, FIVE_FACES, options)["faces"] == []


@on_both_routes
@in_every_place
def test_require_face_refuses_an_image_without_a_face(client, path, place):
    assert predict(client, path, place, NO_FACE, {"require_face": True})["code"] == "no_face_detected"
    assert len(predict(client, path, place, PNG, {"require_face": True})["faces"]) == 1


@on_both_routes
@in_a_body
@pytest.mark.parametrize(("query", "count"), [("max_faces=3", 3), ("max_faces=100", 5)], ids=["3", "default"])
def test_query_parameter_overrides_the_body(client, path, place, query, count):
    assert len(predict(client, path, place, FIVE_FACES, {"max_faces": 2}, query=query)["faces"]) == count


@on_both_routes
@in_a_body
def test_query_and_body_may_set_different_options(client, path, place):
    options = {"max_faces": 2, "min_face_size": 40}
    assert len(predict(client, path, place, FIVE_FACES, options, query="require_face=true")["faces"]) == 2
    assert predict(client, path, place, NO_FACE, options, query="require_face=true")["code"] == "no_face_detected"


@on_both_routes
@in_every_place
@pytest.mark.parametrize(
    ("name", "value"),
    [("detect", "maybe"), ("max_faces", 0), ("max_faces", 1001), ("min_face_size", -1), ("require_face", 7)]
    + [("min_detection_confidence", value) for value in (-0.1, 1.5, "high")],
)
def test_invalid_value_is_refused_with_its_name(client, path, place, name, value):
    response = post(client, path, place, PNG, {name: value})
    assert name in assert_problem(response, ErrorCode.INVALID_PARAMETER)["detail"]


@on_both_routes
@pytest.mark.parametrize("place", ["query", "json"])
@pytest.mark.parametrize("name", ["max_face", "format", "Detect", "smoothing"])
def test_unknown_name_is_refused(client, path, place, name):
    response = post(client, path, place, PNG, {name: "1"})
    assert name in assert_problem(response, ErrorCode.INVALID_PARAMETER)["detail"]


@on_both_routes
@pytest.mark.parametrize("as_file", [True, False], ids=["file", "text"])
@pytest.mark.parametrize("name", ["max_face", "Detect", "smoothing", "photo", "image_base64"])
def test_unknown_part_of_a_form_is_refused(client, path, name, as_file):
    part = (name, ("b.png", PNG) if as_file else (None, "1"))
    # /predict accepts one file and refuses a second one before its name matters.
    expected = ErrorCode.TOO_MANY_IMAGES if as_file and path == "/predict" else ErrorCode.INVALID_PARAMETER
    problem = assert_problem(client.post(path, files=[("file", ("a.png", PNG)), part]), expected)
    if expected is ErrorCode.INVALID_PARAMETER:
        assert problem["detail"].startswith(f"{name}: expected a file named file or image, or a text named detect, ")


@pytest.mark.parametrize(
    ("place", "detail"),
    [
        ("query", "colour is not a parameter of this endpoint; /docs lists the parameters"),
        ("json", "Object contains unknown field `colour`; the body may have the keys image, image_base64, file, img,"),
    ],
)
def test_detail_of_an_unknown_name_says_what_is_known(client, place, detail):
    assert post(client, "/predict", place, NO_FACE, {"colour": "red"}).json()["detail"].startswith(detail)


def test_detail_of_a_long_unknown_parameter_is_short(client):
    assert len(client.post("/predict", params={"x" * 10_000: "1"}, content=NO_FACE).json()["detail"]) < 200


def test_detail_of_an_unknown_part_is_short(client):
    response = client.post("/predict", files={"file": ("a.png", PNG), "x" * 2000: (None, "1")})
    assert len(assert_problem(response, ErrorCode.INVALID_PARAMETER)["detail"]) < 400


@on_both_routes
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_faces", True),
        ("max_faces", "3"),
        ("max_faces", 3.0),
        ("max_faces", None),
        ("min_face_size", False),
        ("detect", 0),
        ("detect", "false"),
        ("require_face", "yes"),
        ("min_confidence", "0.5"),
        ("min_confidence", True),
        ("min_detection_confidence", "1"),
        ("coverage", "0.9"),
    ],
)
def test_json_value_of_another_type_is_refused_with_its_name(client, path, name, value):
    response = post(client, path, "json", PNG, {name: value})
    assert assert_problem(response, ErrorCode.INVALID_PARAMETER)["detail"].startswith(
        f"{name}: Input should be a valid"
    )


@on_both_routes
def test_json_accepts_whole_numbers_and_a_null_coverage(client, path):
    options = {"min_confidence": 1, "min_detection_confidence": 0, "coverage": None}
    assert predict(client, path, "json", PNG, options)["faces"][0]["emotion"] == "uncertain"


@on_both_routes
@pytest.mark.parametrize("place", ["query", "form"])
@pytest.mark.parametrize(("name", "text"), [("detect", "False"), ("detect", "0"), ("detect", "no")])
def test_query_and_form_accept_the_texts_of_a_boolean(client, path, place, name, text):
    if place == "query":
        body = client.post(path, params={name: text}, files={"file": ("a.png", NO_FACE)}).json()
    else:
        body = client.post(path, files={"file": ("a.png", NO_FACE)}, data={name: text}).json()
    assert len(body.get("results", [body])[0]["faces"]) == 1


@on_both_routes
@in_every_place
def test_min_confidence_makes_a_face_with_weaker_scores_uncertain(client, path, place):
    (face,) = client.post("/predict", content=PNG).json()["faces"]
    just_above = min(1.0, face["confidence"] + 1e-4)
    prediction = predict(client, path, place, PNG, {"min_confidence": just_above})
    assert prediction["faces"][0] == face | {"emotion": "uncertain"}
    assert (prediction["emotion"], prediction["confidence"]) == ("uncertain", face["confidence"])
    assert predict(client, path, place, PNG, {"min_confidence": face["confidence"] - 1e-4})["faces"] == [face]


@on_both_routes
@in_every_place
def test_coverage_adds_the_prediction_set_of_the_model(client, path, place):
    (face,) = client.post("/predict", content=PNG).json()["faces"]
    assert face["prediction_set"] is None
    ordered = sorted(face["scores"], key=face["scores"].__getitem__, reverse=True)
    expected = [label for label in ordered if label == ordered[0] or face["scores"][label] >= SET_THRESHOLDS[label]]
    prediction = predict(client, path, place, PNG, {"coverage": 0.9})
    assert prediction["faces"] == [face | {"prediction_set": expected}]


@pytest.mark.parametrize("coverage", [0.5, 1, 0.85, "high"])
def test_unknown_coverage_is_an_invalid_parameter(client, coverage):
    response = client.post("/predict", params={"coverage": coverage}, content=PNG)
    detail = assert_problem(response, ErrorCode.INVALID_PARAMETER)["detail"]
    assert detail.startswith("coverage: expected one of 0.8, 0.9, 0.95" if coverage != "high" else "coverage: Input")


def test_coverage_that_the_model_does_not_have_is_an_invalid_parameter(client):
    response = client.post("/predict", params={"coverage": 0.95}, content=PNG)
    detail = assert_problem(response, ErrorCode.INVALID_PARAMETER)["detail"]
    assert "fake 2026.11.1 has prediction sets for the coverages: 0.9. Received: 0.95" in detail


def test_stream_frames_have_prediction_sets_of_the_smoothed_scores(client):
    with client.websocket_connect("/ws?coverage=0.9&min_confidence=1&smoothing=0.9") as stream:
        for _ in range(2):
            stream.send_bytes(PNG)
            (face,) = stream.receive_json()["faces"]
            assert face["emotion"] == "uncertain"
            assert face["prediction_set"][0] == max(face["scores"], key=face["scores"].__getitem__)
