"""Rekognition's DetectFaces: answers by botocore's service model and, where it is installed, the AWS client."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from app.compat.rekognition import DETECT_FACES, EMOTION_TYPES, MEDIA_TYPE
from app.contract.labels import Emotion
from tests.support.fakes import FAKE_CONFIDENCE
from tests.support.images import encoded, picture

PNG = encoded(picture(2, columns=5))  # 200x120, so that swapped width and height fail
HEADERS = {"X-Amz-Target": DETECT_FACES, "Content-Type": MEDIA_TYPE}


def as_aws(data: bytes = PNG, **members) -> dict:
    return {"json": {"Image": {"Bytes": base64.b64encode(data).decode()}} | members, "headers": HEADERS}


def test_detect_faces_returns_the_faces_of_predict_in_awss_format(client):
    native = client.post("/predict", content=PNG).json()["faces"]
    answer = client.post("/", **as_aws(Attributes=["ALL"]))
    assert (answer.status_code, answer.headers["content-type"]) == (200, MEDIA_TYPE)
    details = answer.json()["FaceDetails"]
    assert len(details) == len(native) == 2
    for detail, face in zip(details, native, strict=True):
        box = face["box"]
        assert detail["BoundingBox"] == {
            "Width": box["width"] / 200,
            "Height": round(box["height"] / 120, 6),
            "Left": box["x"] / 200,
            "Top": box["y"] / 120,
        }
        percents = {emotion["Type"]: emotion["Confidence"] for emotion in detail["Emotions"]}
        assert percents.pop("CONFUSED") == 0
        expected = {EMOTION_TYPES[Emotion(label)]: 100 * score for label, score in face["scores"].items()}
        assert percents == pytest.approx(expected, abs=1e-3)
        ranked = [emotion["Confidence"] for emotion in detail["Emotions"]]
        assert ranked == sorted(ranked, reverse=True)
        assert EMOTION_TYPES[Emotion(face["emotion"])] == detail["Emotions"][0]["Type"]
        assert detail["Confidence"] == 100 * FAKE_CONFIDENCE


def emotions_of(client, query: dict) -> list[list[dict]]:
    answer = client.post("/", params=query, **as_aws(Attributes=["EMOTIONS"]))
    assert answer.status_code == 200, answer.text
    return [detail["Emotions"] for detail in answer.json()["FaceDetails"]]


def test_weak_face_is_unknown_with_min_confidence(client):
    certain = emotions_of(client, {})
    weaker, stronger = sorted(emotions[0]["Confidence"] for emotions in certain)
    answers = emotions_of(client, {"min_confidence": (weaker + stronger) / 200})
    for emotions, before in zip(answers, certain, strict=True):
        top = before[0]["Confidence"]
        unknown = [{"Type": "UNKNOWN", "Confidence": top}] if top == weaker else []
        assert emotions == unknown + before
    assert weaker < stronger


def test_face_with_more_than_one_possible_emotion_is_unknown_with_coverage(client):
    native = client.post("/predict", params={"coverage": 0.9}, content=PNG).json()["faces"]
    answers = emotions_of(client, {"coverage": 0.9})
    unknown = [emotions[0]["Type"] == "UNKNOWN" for emotions in answers]
    assert unknown == [len(face["prediction_set"]) > 1 for face in native]
    assert any(unknown)


@pytest.mark.parametrize("query", [{"min_confidence": 2}, {"min_confidence": "high"}, {"coverage": 0.5}])
def test_invalid_doubt_has_awss_format(client, query):
    answer = client.post("/", params=query, **as_aws(Attributes=["EMOTIONS"]))
    assert (answer.status_code, answer.json()["__type"]) == (400, "InvalidParameterException")
    assert next(iter(query)) in answer.json()["message"]


def test_every_label_has_a_distinct_rekognition_type():
    assert set(EMOTION_TYPES) == set(Emotion)
    assert len(set(EMOTION_TYPES.values())) == len(Emotion)


def test_detect_faces_returns_emotions_only_if_attributes_request_them(client):
    for arguments in (as_aws(), as_aws(Attributes=["DEFAULT", "SMILE"])):
        details = client.post("/", **arguments).json()["FaceDetails"]
        assert [set(detail) for detail in details] == [{"BoundingBox", "Confidence"}] * 2


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (as_aws(b"no image"), "InvalidImageFormatException"),
        (as_aws(b""), "InvalidImageFormatException"),
        (as_aws(Attributes="ALL"), "InvalidParameterException"),
        (as_aws(Attributes=["FACE"]), "InvalidParameterException"),
        ({"json": {"Image": {"Bytes": "!!!!"}}, "headers": HEADERS}, "InvalidParameterException"),
        ({"json": {"Image": {"Bytes": 5}}, "headers": HEADERS}, "InvalidParameterException"),
        ({"content": b"{", "headers": HEADERS}, "InvalidParameterException"),
        ({"json": {"Image": {"S3Object": {"Bucket": "b"}}}, "headers": HEADERS}, "InvalidParameterException"),
        ({"json": [], "headers": HEADERS}, "InvalidParameterException"),
        ({"json": {}, "headers": HEADERS | {"X-Amz-Target": "X.DetectText"}}, "UnknownOperationException"),
        ({"json": {}}, "UnknownOperationException"),
    ],
)
def test_detect_faces_errors_have_awss_format(client, arguments, name):
    answer = client.post("/", **arguments)
    assert (answer.status_code, answer.json()["__type"]) == (400, name), answer.text
    assert answer.json()["message"]


def test_limits_and_failures_have_awss_format(make_client, classifier):
    client = make_client(max_body_bytes=2048, max_queue=1)
    large = client.post("/", **as_aws(b"x" * 4096))
    assert (large.status_code, large.json()["__type"]) == (400, "ImageTooLargeException")
    classifier.poison = 255
    failure = client.post("/", **as_aws(encoded(np.full((48, 48), 255, np.uint8))))
    assert (failure.status_code, failure.json()["__type"]) == (500, "InternalServerError")
    assert "secret" not in failure.text
    with client.app.state.service.admission.acquire(0):
        throttled = client.post("/", **as_aws())
        assert (throttled.status_code, throttled.json()["__type"]) == (400, "ThrottlingException")


def test_operation_does_not_exist_without_compat(make_client):
    assert make_client(compat=False).post("/", **as_aws()).status_code in {404, 405}


def aws_client(url: str):
    session = pytest.importorskip("botocore.session", reason="botocore: see requirements/clients.txt")
    from botocore.config import Config

    return session.get_session().create_client(
        "rekognition",
        region_name="eu-west-1",
        endpoint_url=url,
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=Config(retries={"total_max_attempts": 1}),
    )


def test_answer_matches_botocores_service_model(client):
    pytest.importorskip("botocore", reason="botocore: see requirements/clients.txt")
    from botocore.parsers import create_parser
    from botocore.session import get_session
    from botocore.validate import ParamValidator

    operation = get_session().get_service_model("rekognition").operation_model("DetectFaces")
    answer = client.post("/?min_confidence=1", **as_aws(Attributes=["ALL"]))
    received = {"status_code": answer.status_code, "headers": dict(answer.headers), "body": answer.content}
    parsed = create_parser("json").parse(received, operation.output_shape)
    parsed.pop("ResponseMetadata")
    assert parsed == answer.json()  # the parser drops members that the service model does not have
    assert not ParamValidator().validate(parsed, operation.output_shape).has_errors()
    types = operation.output_shape.members["FaceDetails"].member.members["Emotions"].member.members["Type"].enum
    returned = {emotion["Type"] for detail in parsed["FaceDetails"] for emotion in detail["Emotions"]}
    assert returned == set(types)


def test_aws_client_works_with_this_endpoint(make_server):
    aws = aws_client(make_server())
    faces = aws.detect_faces(Image={"Bytes": PNG}, Attributes=["EMOTIONS"])["FaceDetails"]
    assert [len(face["Emotions"]) for face in faces] == [8, 8]
    with pytest.raises(aws.exceptions.InvalidImageFormatException, match="expected a JPEG"):
        aws.detect_faces(Image={"Bytes": b"no image"})


def test_aws_client_keeps_the_query_of_its_endpoint(make_server):
    aws = aws_client(f"{make_server()}/?min_confidence=1")
    faces = aws.detect_faces(Image={"Bytes": PNG}, Attributes=["EMOTIONS"])["FaceDetails"]
    assert [face["Emotions"][0]["Type"] for face in faces] == ["UNKNOWN", "UNKNOWN"]


def test_aws_client_raises_its_exception_for_a_limit(make_server):
    aws = aws_client(make_server(max_body_bytes=1024))
    with pytest.raises(aws.exceptions.ImageTooLargeException):
        aws.detect_faces(Image={"Bytes": b"x" * 4096})


def test_detect_faces_returns_landmarks_where_the_detector_knows_them(landmark_client):
    detail = landmark_client.post("/", **as_aws()).json()["FaceDetails"][0]
    landmarks = {landmark["Type"]: (landmark["X"], landmark["Y"]) for landmark in detail["Landmarks"]}
    assert list(landmarks) == ["eyeLeft", "eyeRight", "nose", "mouthLeft", "mouthRight"]
    assert landmarks["eyeLeft"] == (0.0502, 0.1)  # the viewer's left
    assert landmarks["eyeRight"] == (0.15, round(19 / 120, 6))
