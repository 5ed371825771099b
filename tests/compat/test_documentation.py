"""Documentation of the compatible APIs in `/openapi.json`: an example for every status that a route can return."""

from __future__ import annotations

import pytest

from tests.support.images import encoded, picture

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
def test_every_error_status_has_an_example_in_the_format_of_its_api(client, path):
    document = client.get("/openapi.json").json()
    responses = document["paths"][path][ROUTES[path]]["responses"]
    assert "200" in responses
    assert "422" not in responses  # no compatible API returns it
    for status, response in responses.items():
        if status == "200":
            continue
        ((media_type, content),) = response["content"].items()
        examples = [content["example"]] if "example" in content else [e["value"] for e in content["examples"].values()]
        assert examples, (path, status)
        assert media_type != "application/problem+json"


def test_predict_documents_its_native_format_only(client):
    operation = client.get("/openapi.json").json()["paths"]["/predict"]["post"]
    assert set(operation["responses"]["200"]["content"]) == {"application/json"}
    assert "format" not in {parameter["name"] for parameter in operation["parameters"]}


def test_without_compat_no_compatible_api_is_documented(make_client):
    paths = make_client(compat=False).get("/openapi.json").json()["paths"]
    assert set(paths) & set(ROUTES) == set()


@pytest.mark.parametrize("name", ["azure", "rekognition", "fer"])
def test_predict_has_no_format_parameter(client, name):
    answer = client.post(f"/predict?format={name}", content=encoded(picture(1)))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_parameter")
