"""Azure Face v1.0 detect: the format of answers and errors and, where it is installed, Microsoft's client."""

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


def test_detect_returns_the_faces_of_predict_in_azures_format(client):
    native = client.post("/predict", content=PNG).json()["faces"]
    faces = client.post(WITH_EMOTION, **BODY).json()
    assert len(faces) == len(native) == 2
    for face, expected in zip(faces, native, strict=True):
        assert set(face) == {"faceId", "faceRectangle", "faceAttributes"}
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


def test_detect_without_a_face_returns_an_empty_list(client):
    answer = client.post(WITH_EMOTION, **BODY | {"content": encoded(picture(0))})
    assert (answer.status_code, answer.json()) == (200, [])


def test_detect_returns_only_requested_attributes(client):
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
        ("/face/v1.0/detect?returnRecognitionModel=true", BODY, 400, "BadArgument"),
        ("/face/v1.0/detect", BODY | {"content": encoded(np.zeros((4, 4), np.uint8))}, 400, "InvalidImageSize"),
    ],
)
def test_errors_have_azures_format(client, path, arguments, status, code):
    answer = client.post(path, **arguments)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    assert set(answer.json()) == {"error"}
    assert set(answer.json()["error"]) == {"code", "message"}


def test_limits_and_failures_have_azures_format(make_client, classifier):
    client = make_client(max_body_bytes=2048, max_queue=1, api_keys="key")
    key = {"Ocp-Apim-Subscription-Key": "key", "content-type": "application/octet-stream"}
    denied = client.post(WITH_EMOTION, **BODY)
    assert (denied.status_code, denied.json()["error"]["code"]) == (401, "401")
    small = encoded(np.full((48, 48), 7, np.uint8))
    assert client.post(WITH_EMOTION, content=small, headers=key).status_code == 200
    large = client.post(WITH_EMOTION, content=b"x" * 4096, headers=key)
    assert (large.status_code, large.json()["error"]["code"]) == (400, "InvalidImageSize")
    classifier.poison = 255
    failure = client.post(WITH_EMOTION, content=encoded(np.full((48, 48), 255, np.uint8)), headers=key)
    assert (failure.status_code, failure.json()["error"]["code"]) == (500, "InternalServerError")
    assert "secret" not in failure.text
    with client.app.state.service.admission.acquire(0):
        busy = client.post(WITH_EMOTION, content=small, headers=key)
        assert (busy.status_code, busy.json()["error"]["code"]) == (429, "RateLimitExceeded")
        assert busy.headers["retry-after"] == "1"


@pytest.mark.filterwarnings("ignore")  # warnings of msrest
def test_azure_client_works_with_this_endpoint(make_server):
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
