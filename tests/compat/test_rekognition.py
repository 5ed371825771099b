"""Rekognition's DetectFaces: its shapes by botocore's own service model, and a real AWS client where installed."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from app.compat.rekognition import DETECT_FACES, EMOTION_TYPES, MEDIA_TYPE
from app.contract.labels import Emotion
from tests.support.images import encoded, picture

PNG = encoded(picture(2, columns=5))  # 200x120, so that width and height cannot be mixed up
HEADERS = {"X-Amz-Target": DETECT_FACES, "Content-Type": MEDIA_TYPE}


def as_aws(data: bytes = PNG, **members) -> dict:
    return {"json": {"Image": {"Bytes": base64.b64encode(data).decode()}} | members, "headers": HEADERS}


def test_predict_format_rekognition_is_the_same_finding_in_its_words(client):
    own = client.post("/predict", content=PNG).json()["faces"]
    answer = client.post("/predict?format=rekognition", content=PNG)
    assert answer.status_code == 200
    details = answer.json()["FaceDetails"]
    assert len(details) == len(own) == 2
    for detail, face in zip(details, own, strict=True):
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
        assert 0 < detail["Confidence"] < 100


def test_every_label_has_its_own_rekognition_type():
    assert set(EMOTION_TYPES) == set(Emotion)
    assert len(set(EMOTION_TYPES.values())) == len(Emotion)


def test_detect_faces_wire_form_answers_as_the_format_does(client):
    answer = client.post("/", **as_aws(Attributes=["ALL"]))
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert answer.json() == client.post("/predict?format=rekognition", content=PNG).json()


def test_detect_faces_gives_emotions_only_where_attributes_ask(client):
    for arguments in (as_aws(), as_aws(Attributes=["DEFAULT", "SMILE"])):
        details = client.post("/", **arguments).json()["FaceDetails"]
        assert [set(detail) for detail in details] == [{"BoundingBox", "Confidence"}] * 2


def test_detect_false_has_no_confidence_as_no_detector_ran(client):
    (detail,) = client.post("/predict?format=rekognition&detect=false", content=PNG).json()["FaceDetails"]
    assert detail["BoundingBox"] == {"Width": 1, "Height": 1, "Left": 0, "Top": 0}
    assert "Confidence" not in detail


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (as_aws(b"no image"), "InvalidImageFormatException"),
        (as_aws(b""), "InvalidImageFormatException"),
        (as_aws(Attributes="ALL"), "InvalidParameterException"),
        ({"json": {"Image": {"S3Object": {"Bucket": "b"}}}, "headers": HEADERS}, "InvalidParameterException"),
        ({"json": [], "headers": HEADERS}, "InvalidParameterException"),
        ({"json": {}, "headers": HEADERS | {"X-Amz-Target": "X.DetectText"}}, "UnknownOperationException"),
        ({"json": {}}, "UnknownOperationException"),
    ],
)
def test_detect_faces_errors_are_in_awss_shape(client, arguments, name):
    answer = client.post("/", **arguments)
    assert (answer.status_code, answer.json()["__type"]) == (400, name), answer.text
    assert answer.json()["message"]


def test_predict_format_rekognition_limits_and_faults_are_in_awss_shape(make_client, classifier):
    client = make_client(max_body_bytes=2048, max_queue=1)
    large = client.post("/predict?format=rekognition", content=b"x" * 4096)
    assert (large.status_code, large.json()["__type"]) == (400, "ImageTooLargeException")
    wrong = client.post("/predict?format=rekognition&max_faces=0", content=PNG)
    assert (wrong.status_code, wrong.json()["__type"]) == (400, "InvalidParameterException")
    classifier.poison = 7
    poisoned = encoded(np.full((48, 48), 7, np.uint8))
    fault = client.post("/predict?format=rekognition&detect=false", content=poisoned)
    assert (fault.status_code, fault.json()["__type"]) == (500, "InternalServerError")
    assert "secret" not in fault.text
    permit = client.app.state.service.admission.acquire(0)
    permit.__enter__()
    throttled = client.post("/predict?format=rekognition", content=PNG)
    assert (throttled.status_code, throttled.json()["__type"]) == (400, "ThrottlingException")


def test_predict_unknown_format_and_switched_off_format_are_invalid_parameters(make_client):
    for client, name in ((make_client(), "faceplusplus"), (make_client(compat=False), "rekognition")):
        answer = client.post(f"/predict?format={name}", content=PNG)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_parameter")
    closed = make_client(compat=False)
    assert closed.post("/predict?format=fer", content=PNG).status_code == 200
    assert closed.post("/", **as_aws()).status_code in {404, 405}


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


def test_answer_is_valid_by_botocores_service_model(client):
    pytest.importorskip("botocore", reason="botocore: see requirements/clients.txt")
    from botocore.parsers import create_parser
    from botocore.session import get_session
    from botocore.validate import ParamValidator

    operation = get_session().get_service_model("rekognition").operation_model("DetectFaces")
    answer = client.post("/predict?format=rekognition", content=PNG)
    received = {"status_code": answer.status_code, "headers": dict(answer.headers), "body": answer.content}
    parsed = create_parser("json").parse(received, operation.output_shape)
    parsed.pop("ResponseMetadata")
    assert parsed == answer.json()  # the parser drops what the model does not know
    assert not ParamValidator().validate(parsed, operation.output_shape).has_errors()
    types = operation.output_shape.members["FaceDetails"].member.members["Emotions"].member.members["Type"].enum
    assert {emotion["Type"] for detail in parsed["FaceDetails"] for emotion in detail["Emotions"]} <= set(types)


def test_real_aws_client_needs_only_another_endpoint(make_server):
    aws = aws_client(make_server())
    faces = aws.detect_faces(Image={"Bytes": PNG}, Attributes=["EMOTIONS"])["FaceDetails"]
    assert [len(face["Emotions"]) for face in faces] == [8, 8]
    with pytest.raises(aws.exceptions.InvalidImageFormatException, match="expected a JPEG"):
        aws.detect_faces(Image={"Bytes": b"no image"})


def test_real_aws_client_knows_the_limits_by_their_exceptions(make_server):
    aws = aws_client(make_server(max_body_bytes=1024))
    with pytest.raises(aws.exceptions.ImageTooLargeException):
        aws.detect_faces(Image={"Bytes": b"x" * 4096})
