"""What `/openapi.json` says of the dialects: an example for every status, and nothing that never happens."""

from __future__ import annotations

import pytest

ROUTES = {
    "/analyze": "post",
    "/": "post",
    "/face/v1.0/detect": "post",
    "/v2": "get",
    "/v2/health/live": "get",
    "/v2/health/ready": "get",
    "/v2/models/{name}": "get",
    "/v2/models/{name}/ready": "get",
    "/v2/models/{name}/infer": "post",
}


@pytest.mark.parametrize("path", ROUTES)
def test_every_error_status_has_an_example_in_the_dialects_shape(client, path):
    document = client.get("/openapi.json").json()
    responses = document["paths"][path][ROUTES[path]]["responses"]
    assert "200" in responses
    assert "422" not in responses  # no dialect answers it
    for status, response in responses.items():
        if status == "200":
            continue
        ((media_type, content),) = response["content"].items()
        examples = [content["example"]] if "example" in content else [e["value"] for e in content["examples"].values()]
        assert examples, (path, status)
        assert media_type != "application/problem+json"


def test_predict_documents_the_answers_in_every_format(client):
    operation = client.get("/openapi.json").json()["paths"]["/predict"]["post"]
    examples = operation["responses"]["200"]["content"]["application/json"]["examples"]
    assert set(examples) == {"fer", "rekognition", "azure"}


def test_without_compat_no_dialect_is_documented(make_client):
    paths = make_client(compat=False).get("/openapi.json").json()["paths"]
    assert set(paths) & set(ROUTES) == set()
