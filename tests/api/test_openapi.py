"""The OpenAPI document: it is committed and complete, and its operation ids are readable."""

from __future__ import annotations

import json

import pytest

from app.api.problems import STATUS
from app.domain import ImageWarning
from app.errors import ErrorCode
from app.openapi import document
from tests.support.images import PNG
from tests.support.paths import REPOSITORY


def test_committed_document_is_up_to_date():
    committed = json.loads((REPOSITORY / "openapi.json").read_text(encoding="utf-8"))
    assert committed == document(), "the API has changed: run `make openapi` and review the difference"


def test_operation_ids_are_readable_and_unique():
    operations = [each for path in document()["paths"].values() for each in path.values()]
    identifiers = [operation["operationId"] for operation in operations]
    assert {"predict", "predict_batch", "healthz", "readyz", "metrics", "info", "reload"} <= set(identifiers)
    assert len(set(identifiers)) == len(identifiers)


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_every_form_has_an_operation_for_generators_that_use_the_first_media_type(client, path):
    paths = client.get("/openapi.json").json()["paths"]
    assert next(iter(paths[path]["post"]["requestBody"]["content"])) == "application/json"
    form = paths[f"{path}/form"]["post"]
    (schema,) = (content["schema"] for content in form["requestBody"]["content"].values())
    assert schema["required"] == list(schema["properties"]) == ["file"]
    assert form["responses"].keys() == paths[path]["post"]["responses"].keys()
    assert form["parameters"] == paths[path]["post"]["parameters"]
    answers = [client.post(route, files={"file": ("a.png", PNG)}).json() for route in (path, f"{path}/form")]
    faces = [(answer["results"][0] if "results" in answer else answer)["faces"] for answer in answers]
    assert faces[0] == faces[1] != []


def test_parameters_are_not_null_and_schemas_have_references():
    openapi = document()
    for path in openapi["paths"].values():
        for operation in path.values():
            assert all("anyOf" not in parameter["schema"] for parameter in operation.get("parameters", []))
    schemas = openapi["components"]["schemas"]
    assert schemas["FramePrediction"]["properties"]["faces"]["items"] == {"$ref": "#/components/schemas/TrackedFace"}
    assert [entry["$ref"].rpartition("/")[2] for entry in schemas["BatchEntry"]["oneOf"]] == [
        "Prediction",
        "BatchEntryError",
    ]


def test_document_describes_the_stream_and_its_messages():
    openapi = document()
    (tag,) = (tag for tag in openapi["tags"] if tag["name"] == "stream")
    assert "/ws" in tag["description"]
    assert {"FramePrediction", "StreamError", "StreamKey"} <= set(openapi["components"]["schemas"])


def test_document_has_the_closed_list_of_warnings():
    schemas = document()["components"]["schemas"]
    assert schemas["ImageWarning"]["enum"] == [warning.value for warning in ImageWarning]
    described = schemas["Prediction"]["properties"]["warnings"]["description"]
    assert all(f"`{warning.value}`" in described for warning in ImageWarning)
    assert "hint" not in schemas["Prediction"]["required"]


def test_document_has_every_request_form_and_an_example_of_every_status(client):
    document = client.get("/openapi.json").json()
    predict = document["paths"]["/predict"]["post"]
    assert set(predict["requestBody"]["content"]) == {
        "multipart/form-data",
        "application/json",
        "image/*",
        "application/octet-stream",
    }
    headers = {parameter["name"] for parameter in predict["parameters"] if parameter["in"] == "header"}
    assert headers == {"Priority", "X-Request-Timeout-Ms", "X-Envoy-Expected-Rq-Timeout-Ms"}
    parameters = {parameter["name"]: parameter for parameter in predict["parameters"] if parameter["in"] == "query"}
    assert {name: parameter["schema"].get("default") for name, parameter in parameters.items()} == {
        "detect": True,
        "max_faces": 100,
        "min_face_size": 0,
        "require_face": False,
        "min_confidence": 0,
        "coverage": None,
        "min_detection_confidence": 0.5,
    }
    assert all(parameter["description"] for parameter in predict["parameters"])
    assert parameters["max_faces"]["schema"]["maximum"] == 1000
    batch = document["paths"]["/predict/batch"]["post"]
    assert {parameter["name"] for parameter in batch["parameters"]} == headers | set(parameters)
    documented = set()
    for path in ("/predict", "/predict/batch", "/readyz"):
        operation = next(iter(document["paths"][path].values()))
        for status, response in operation["responses"].items():
            examples = response.get("content", {}).get("application/problem+json", {}).get("examples", {})
            for code, example in examples.items():
                assert example["value"]["status"] == int(status) == STATUS[ErrorCode(code)]
                documented.add(code)
    # OpenAPI cannot describe errors of streams, and the route of the reload needs admin keys.
    of_other_routes = {ErrorCode.FORBIDDEN_ORIGIN, ErrorCode.RELOAD_IN_PROGRESS, ErrorCode.MODEL_REFUSED}
    undocumented = {ErrorCode.NOT_FOUND, ErrorCode.METHOD_NOT_ALLOWED} | of_other_routes
    assert documented == set(ErrorCode) - undocumented
    assert document["components"]["schemas"]["Prediction"]["examples"]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                for content in response.get("content", {}).values():
                    has_example = "example" in content or content.get("examples")
                    assert has_example, f"{path}: {status}"
    assert {scheme["type"] for scheme in document["components"]["securitySchemes"].values()} == {"apiKey", "http"}
    assert document["paths"]["/metrics"]["get"]["responses"].keys() == {"200", "401"}
    assert "422" in predict["responses"]
