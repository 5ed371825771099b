"""The page and its files: contents, security headers, and the setting that switches the page off."""

from __future__ import annotations

import re

import pytest

from app.api.routes import page
from tests.support.paths import REPOSITORY

FILES = sorted(path.name for path in (REPOSITORY / "app" / "web").iterdir() if path.name != "index.html")


def test_page_and_the_files_that_it_loads_are_served(client):
    response = client.get("/")
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    loaded = set(re.findall(r'(?:src|href)="(web/[^"]+)"', response.text))
    assert loaded == {"web/icon.svg", "web/page.css", "web/main.js", "web/model-card"}
    for name in (*loaded, *(f"web/{name}" for name in FILES)):
        assert client.get(f"/{name}").status_code == 200, name


@pytest.mark.parametrize(("name", "kind"), [("main.js", "javascript"), ("page.css", "text/css"), ("icon.svg", "svg")])
def test_page_file_has_its_content_type(client, name, kind):
    assert kind in client.get(f"/web/{name}").headers["content-type"]


def test_page_serves_only_the_files_of_its_folder(client):
    assert set(FILES) == page._FILES
    for path in ("/web/none.js", "/web/index.html", "/web/..%2fmain.py", "/web/%2e%2e%2fmain.py", "/web/"):
        response = client.get(path)
        assert (response.status_code, response.json()["code"]) == (404, "not_found"), path


@pytest.mark.parametrize("path", ["/", "/web/main.js"])
def test_page_security_headers_allow_only_files_of_the_service(client, path):
    headers = client.get(path).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "camera=(self)" in headers["permissions-policy"]


def test_page_loads_nothing_from_other_hosts_and_has_no_inline_code(client):
    text = client.get("/").text
    assert "://" not in text
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", text)
    for name in FILES:
        addresses = re.findall(r"\w+://\w[\w.]*", client.get(f"/web/{name}").text)
        assert set(addresses) <= {"http://www.w3.org"}, name  # the namespace of SVG is not fetched


def test_page_needs_no_key(make_client):
    client = make_client(api_keys="secret")
    assert client.get("/").status_code == 200
    assert client.get("/info").status_code == 401


def test_page_can_be_switched_off(make_client):
    client = make_client(web=False, compat=False)  # the Rekognition API has the route POST /
    for path in ("/", "/web/main.js"):
        assert client.get(path).status_code == 404
    assert client.post("/predict", content=b"x").status_code == 415


def test_page_is_counted_under_its_routes(client):
    client.get("/")
    client.get("/web/main.js")
    text = client.get("/metrics").text
    for route in ("/", "/web/{name}"):
        assert f'fer_requests_total{{route="{route}",status="200"}} 1.0' in text


def test_page_shows_the_card_of_the_served_model(make_client, tmp_path):
    for name in ("README.md", "special.md"):
        (tmp_path / name).write_text(f"# Card in {name}")
    for model, card in (("special.onnx", "special.md"), ("other.onnx", "README.md")):
        response = make_client(model=tmp_path / model).get("/web/model-card")
        assert (response.status_code, response.text) == (200, f"# Card in {card}")
        assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert make_client(model=tmp_path / "none" / "m.onnx").get("/web/model-card").status_code == 404
