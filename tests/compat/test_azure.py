"""Azure Face v1.0 detect: its shapes, and Microsoft's own client where installed."""

from __future__ import annotations

import io
import uuid

import numpy as np
import pytest

from app.compat.azure import EMOTION_NAMES
from app.contract.labels import Emotion
from tests.support.images import encoded, picture

PNG = encoded(picture(2, columns=5))
BODY = {"content": PNG, "headers": {"content-type": "application/octet-stream"}}
WITH_EMOTION = "/face/v1.0/detect?returnFaceAttributes=emotion"


def without_ids(faces: list[dict]) -> list[dict]:
    return [{key: value for key, value in face.items() if key != "faceId"} for face in faces]


def test_predict_format_azure_is_the_same_finding_in_its_words(client):
    own = client.post("/predict", content=PNG).json()["faces"]
    faces = client.post("/predict?format=azure", content=PNG).json()
    assert len(faces) == len(own) == 2
    for face, expected in zip(faces, own, strict=True):
        assert str(uuid.UUID(face["faceId"])) == face["faceId"]
        box = expected["box"]
        assert face["faceRectangle"] == {
            "top": box["y"],
            "left": box["x"],
            "width": box["width"],
            "height": box["height"],
        }
        emotion = face["faceAttributes"]["emotion"]
        assert emotion.pop("contempt") == 0
        assert emotion == {EMOTION_NAMES[Emotion(label)]: score for label, score in expected["scores"].items()}
    assert faces[0]["faceRectangle"]["left"] != faces[1]["faceRectangle"]["left"]
    assert faces[0]["faceId"] != faces[1]["faceId"]


def test_detect_wire_form_answers_as_the_format_does(client):
    assert without_ids(client.post(WITH_EMOTION, **BODY).json()) == without_ids(
        client.post("/predict?format=azure", content=PNG).json()
    )


def test_detect_gives_only_what_is_asked_for(client):
    assert [set(face) for face in client.post("/face/v1.0/detect", **BODY).json()] == [{"faceId", "faceRectangle"}] * 2
    without_id = client.post(WITH_EMOTION + "&returnFaceId=false", **BODY).json()
    assert [set(face) for face in without_id] == [{"faceRectangle", "faceAttributes"}] * 2


@pytest.mark.parametrize(
    ("path", "arguments", "status", "code"),
    [
        ("/face/v1.0/detect?returnFaceAttributes=age,emotion", BODY, 400, "BadArgument"),
        ("/face/v1.0/detect?returnFaceLandmarks=true", BODY, 400, "BadArgument"),
        ("/face/v1.0/detect?returnFaceId=perhaps", BODY, 400, "BadArgument"),
        ("/face/v1.0/detect", {"json": {"url": "https://example.org/a.jpg"}}, 415, "BadArgument"),
        ("/face/v1.0/detect", BODY | {"content": b"no image"}, 400, "InvalidImage"),
        ("/face/v1.0/detect", BODY | {"content": b""}, 400, "InvalidImageSize"),
        ("/predict?format=azure", {"json": {"image": "!!!!"}}, 400, "InvalidImage"),
        ("/predict?format=azure&max_faces=0", BODY, 400, "BadArgument"),
        ("/predict?format=azure&require_face=true", {"content": encoded(picture(0))}, 400, "InvalidImage"),
    ],
)
def test_errors_are_in_azures_shape(client, path, arguments, status, code):
    answer = client.post(path, **arguments)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    assert set(answer.json()) == {"error"}
    assert set(answer.json()["error"]) == {"code", "message"}


def test_limits_and_faults_are_in_azures_shape(make_client, classifier):
    client = make_client(max_body_bytes=2048, max_queue=1, api_keys="key")
    key = {"Ocp-Apim-Subscription-Key": "key", "content-type": "application/octet-stream"}
    denied = client.post(WITH_EMOTION, **BODY)
    assert (denied.status_code, denied.json()["error"]["code"]) == (401, "401")
    small = encoded(np.full((48, 48), 7, np.uint8))
    assert client.post(WITH_EMOTION, content=small, headers=key).status_code == 200
    large = client.post(WITH_EMOTION, content=b"x" * 4096, headers=key)
    assert (large.status_code, large.json()["error"]["code"]) == (400, "InvalidImageSize")
    classifier.poison = 7
    fault = client.post("/predict?format=azure&detect=false", content=small, headers=key)
    assert (fault.status_code, fault.json()["error"]["code"]) == (500, "InternalServerError")
    assert "secret" not in fault.text
    permit = client.app.state.service.admission.acquire(0)
    permit.__enter__()
    busy = client.post(WITH_EMOTION, content=small, headers=key)
    assert (busy.status_code, busy.json()["error"]["code"]) == (429, "RateLimitExceeded")
    assert busy.headers["retry-after"] == "1"


@pytest.mark.filterwarnings("ignore")  # msrest's own
def test_real_azure_client_needs_only_another_endpoint(make_server):
    pytest.importorskip("azure.cognitiveservices.vision.face", reason="Azure's client: see requirements/clients.txt")
    from azure.cognitiveservices.vision.face import FaceClient
    from azure.cognitiveservices.vision.face.models import APIErrorException
    from msrest.authentication import CognitiveServicesCredentials

    url = make_server(api_keys="key")
    azure = FaceClient(url, CognitiveServicesCredentials("key"))
    faces = azure.face.detect_with_stream(io.BytesIO(PNG), return_face_attributes=["emotion"])
    assert [(face.face_rectangle.width, face.face_rectangle.height) for face in faces] == [(40, 40)] * 2
    for face in faces:
        scores = face.face_attributes.emotion.as_dict()
        assert set(scores) == {*EMOTION_NAMES.values(), "contempt"}
        assert sum(scores.values()) == pytest.approx(1, abs=1e-3)
    with pytest.raises(APIErrorException) as caught:
        azure.face.detect_with_stream(io.BytesIO(b"no image"))
    assert caught.value.error.error.code == "InvalidImage"
    with pytest.raises(APIErrorException):
        azure.face.detect_with_url("https://example.org/a.jpg")
