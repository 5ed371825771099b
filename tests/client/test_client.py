"""Tests of the Python client: against the service on a socket, and with scripted responses for retries."""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections.abc import Callable

import httpx2
import pytest
from fer_client import (
    ApiError,
    AsyncFerClient,
    ConnectionFailedError,
    FerClient,
    FerClientError,
    Prediction,
    RetryPolicy,
)

from tests.support.images import encoded, picture

PNG = encoded(picture(2))
NO_WAIT = RetryPolicy(attempts=3, backoff_s=0)


def test_predict_returns_typed_faces(make_server, tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(PNG)
    with FerClient(make_server()) as client:
        prediction = client.predict(path)
        assert len(prediction.faces) == 2
        assert (
            prediction.emotion
            == prediction.faces[0].emotion
            == max(prediction.faces[0].scores, key=lambda label: prediction.faces[0].scores[label])
        )
        assert (prediction.confidence, prediction.scores) == (
            prediction.faces[0].confidence,
            prediction.faces[0].scores,
        )
        assert (prediction.faces[0].box.width, prediction.image.width, prediction.image.height) == (40, 160, 120)
        assert prediction.model.name == "fake"
        assert prediction.timings_ms.total > 0
        assert prediction.request_id
        assert client.predict(PNG).faces == prediction.faces
        assert client.is_ready()
        assert client.info()["name"] == "fake"


def test_predict_sends_its_options(make_server):
    with FerClient(make_server()) as client:
        assert len(client.predict(PNG, max_faces=1).faces) == 1
        assert client.predict(PNG, min_face_size=41).faces == ()
        assert client.predict(PNG, min_detection_confidence=0.99).faces == ()
        (whole,) = client.predict(PNG, detect=False).faces
        assert (whole.box.width, whole.detection_confidence) == (160, None)
        empty = client.predict(encoded(picture(0)))
        assert (empty.emotion, empty.confidence, empty.scores) == (None, None, None)
        assert (empty.warnings, empty.hint) == (("no_face_detected",), None)
        small = client.predict(encoded(picture(0)[:96, :96]))
        assert small.warnings == ("no_face_detected", "small_image")
        assert "detect=false" in (small.hint or "")
        with pytest.raises(ApiError, match="no_face_detected") as caught:
            client.predict(encoded(picture(0)), require_face=True)
        assert (caught.value.status, caught.value.code) == (422, "no_face_detected")
        assert caught.value.request_id in str(caught.value)


def test_predict_batch_returns_results_and_errors_in_input_order(make_server):
    with FerClient(make_server(max_images=3)) as client:
        good, bad, empty = client.predict_batch([PNG, b"not an image", encoded(picture(0))])
        assert len(good.faces) == 2
        assert isinstance(bad, ApiError)
        assert bad.code == "unsupported_image_format"
        assert empty.faces == ()
        with pytest.raises(ApiError, match="too_many_images"):
            client.predict_batch([PNG] * 4)


def test_api_key_is_sent(make_server):
    url = make_server(api_keys="right")
    with FerClient(url, api_key="right") as client:
        assert client.predict(PNG).faces
    with FerClient(url) as client, pytest.raises(ApiError, match="unauthorized"):
        client.predict(PNG)


def test_async_client_returns_the_same_results(make_server):
    url = make_server()

    async def scenario():
        async with AsyncFerClient(url) as client:
            one, many = await asyncio.gather(client.predict(PNG), client.predict_batch([PNG, b"x"]))
            assert await client.is_ready()
            assert (await client.info())["name"] == "fake"
            with pytest.raises(ApiError, match="empty_image"):
                await client.predict(b"")
            return one, many

    one, many = asyncio.run(scenario())
    with FerClient(url) as client:
        assert one.faces == client.predict(PNG).faces == many[0].faces
    assert isinstance(many[1], ApiError)


def test_async_client_has_the_same_methods():
    def methods(client: type) -> dict:
        public = {name: member for name, member in vars(client).items() if not name.startswith("_")}
        return {name: list(inspect.signature(member).parameters) for name, member in public.items()}

    assert methods(FerClient) == methods(AsyncFerClient)


def problem(status: int, code: str, **headers: str) -> httpx2.Response:
    body = {"status": status, "code": code, "detail": "description", "request_id": "r"}
    return httpx2.Response(status, json=body, headers=headers)


class Script:
    """Handler that returns the given responses in order, repeats the last one, and records the requests."""

    def __init__(self, *responses: httpx2.Response | Exception) -> None:
        self.responses = list(responses)
        self.requests: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        response = self.responses[min(len(self.requests), len(self.responses)) - 1]
        if isinstance(response, Exception):
            raise response
        return response


def get_info(script: Script, kind: str, policy: RetryPolicy = NO_WAIT) -> dict:
    """Call `info()` of the given client class with scripted responses."""
    if kind == "sync":
        with FerClient("http://service", retries=policy, transport=httpx2.MockTransport(script)) as client:
            return client.info()

    async def scenario() -> dict:
        async with AsyncFerClient("http://s", retries=policy, transport=httpx2.MockTransport(script)) as client:
            return await client.info()

    return asyncio.run(scenario())


both = pytest.mark.parametrize("kind", ["sync", "async"])
INFO = {"name": "fake"}


@both
@pytest.mark.parametrize(
    "failure",
    [
        lambda: problem(503, "overloaded"),
        lambda: problem(504, "deadline_exceeded"),
        lambda: httpx2.Response(502, text="<html>proxy</html>"),
        lambda: httpx2.ConnectError("refused"),
        lambda: httpx2.ReadTimeout("slow"),
        lambda: httpx2.RemoteProtocolError("cut"),
    ],
)
def test_temporary_failures_are_retried(kind, failure: Callable[[], httpx2.Response | Exception]):
    script = Script(failure(), failure(), httpx2.Response(200, json=INFO))
    assert get_info(script, kind) == INFO
    assert len(script.requests) == 3


@both
@pytest.mark.parametrize(("status", "code"), [(422, "undecodable_image"), (500, "internal"), (401, "unauthorized")])
def test_permanent_failures_are_not_retried(kind, status, code):
    script = Script(problem(status, code))
    with pytest.raises(ApiError):
        get_info(script, kind)
    assert len(script.requests) == 1


@both
def test_last_failure_is_raised(kind):
    script = Script(problem(503, "overloaded"))
    with pytest.raises(ApiError, match="overloaded"):
        get_info(script, kind)
    assert len(script.requests) == 3
    broken = Script(httpx2.ConnectError("refused"))
    with pytest.raises(ConnectionFailedError, match="3 attempts"):
        get_info(broken, kind)
    assert len(broken.requests) == 3


@both
def test_every_attempt_sends_the_whole_body(kind):
    script = Script(problem(503, "overloaded"), httpx2.Response(200, json={"results": []}))
    if kind == "sync":
        FerClient("http://s", retries=NO_WAIT, transport=httpx2.MockTransport(script)).predict_batch([PNG])
    else:

        async def scenario():
            transport = httpx2.MockTransport(script)
            await AsyncFerClient("http://s", retries=NO_WAIT, transport=transport).predict_batch([PNG])

        asyncio.run(scenario())
    assert all(PNG in request.read() for request in script.requests)
    assert len(script.requests) == 2


@pytest.mark.parametrize("seconds", ["7", " 7 "])
def test_waits_include_retry_after_and_grow_with_jitter_up_to_the_maximum(seconds):
    policy = RetryPolicy(attempts=5, backoff_s=1, max_wait_s=20)
    waits = [policy.wait_s(1, seconds) for _ in range(200)]
    assert all(7 <= wait <= 8 for wait in waits)
    assert len(set(waits)) > 100
    later = [policy.wait_s(3, None) for _ in range(200)]
    assert max(later) > 2  # uniform between 0 and 4
    assert max(later) <= 4
    assert policy.wait_s(1, "3600") == 20
    assert all(policy.wait_s(1, invalid) <= 1 for invalid in ("soon", "-5", "", "Wed, 21 Oct 2015 07:28:00 GMT", "²"))


@both
def test_client_waits_between_attempts(kind, monkeypatch):
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("fer_client.async_client.asyncio.sleep", sleep)
    script = Script(problem(503, "overloaded", **{"Retry-After": "2"}), httpx2.Response(200, json=INFO))
    get_info(script, kind)
    assert slept == [2.0]


def test_responses_of_other_servers_raise_unknown():
    for response in (
        httpx2.Response(404, text="nginx"),
        httpx2.Response(404, json=["x"]),
        httpx2.Response(418, json={}),
    ):
        with pytest.raises(ApiError, match="unknown"):
            get_info(Script(response), "sync")
    for body in ({}, [], {"faces": 1}):
        client = FerClient("http://s", transport=httpx2.MockTransport(Script(httpx2.Response(200, json=body))))
        with pytest.raises(ApiError, match="not from fer-serve"):
            client.predict(PNG)


def test_unreachable_instance_is_not_ready():
    with socket.socket() as taken:  # bound, not listening
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with FerClient(url, retries=NO_WAIT, timeout_s=2) as client:
            assert not client.is_ready()
            with pytest.raises(FerClientError):
                client.predict(PNG)


def test_request_times_out_if_the_service_sends_nothing():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with (
            FerClient(url, timeout_s=0.05, retries=RetryPolicy(attempts=1)) as client,
            pytest.raises(ConnectionFailedError, match="Timeout"),
        ):
            client.predict(PNG)


@pytest.mark.parametrize("arguments", [{"attempts": 0}, {"backoff_s": -1}, {"max_wait_s": -1}])
def test_invalid_retry_policy_is_refused(arguments):
    with pytest.raises(ValueError, match="Received"):
        RetryPolicy(**arguments)


def test_predict_batch_sends_its_options(make_server):
    with FerClient(make_server()) as client:
        (one,) = client.predict_batch([PNG], max_faces=1)
        (none,) = client.predict_batch([PNG], min_face_size=41)
        assert client.predict_batch([PNG], min_detection_confidence=0.99)[0].faces == ()
        (error,) = client.predict_batch([encoded(picture(0))], require_face=True)
    assert (len(one.faces), none.faces, error.code) == (1, (), "no_face_detected")


def test_paths_are_accepted_as_str_and_path(make_server, tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(PNG)
    with FerClient(make_server()) as client:
        expected = client.predict(PNG).faces
        assert client.predict(path).faces == client.predict(str(path)).faces == expected
        assert [result.faces for result in client.predict_batch([path, str(path), PNG])] == [expected] * 3
        with pytest.raises(FileNotFoundError, match=r"missing\.png"):
            client.predict(str(tmp_path / "missing.png"))


def test_invalid_arguments_are_refused_before_a_request():
    with pytest.raises(ValueError, match="api_key must consist of printable ASCII"):
        FerClient("http://127.0.0.1:1", api_key="schlüssel")
    for client_class in (FerClient, AsyncFerClient):
        with pytest.raises(ValueError, match=r"url must begin with http:// or https://. Received: '127\.0\.0\.1:8000'"):
            client_class("127.0.0.1:8000")
    script = Script(httpx2.Response(200))
    with FerClient("http://s", transport=httpx2.MockTransport(script)) as client:
        with pytest.raises(TypeError, match="image must be a path or the bytes of an image file"):
            client.predict([PNG])
        for one in (PNG, "photo.jpg"):
            with pytest.raises(TypeError, match="images must be a list"):
                client.predict_batch(one)
    assert script.requests == []


@pytest.mark.parametrize("stages", [{}, {"vision_queue": 1.5}])
def test_timings_of_services_without_a_vision_queue_are_read(stages):
    document = {
        "faces": [],
        "image": {"width": 1, "height": 2},
        "model": {"name": "m", "version": "1"},
        "timings_ms": {"decode": 1, "detect": 2, "queue": 3, "infer": 4, "total": 5} | stages,
        "request_id": "r",
        "warnings": [],
        "field_of_a_newer_service": 1,
    }
    timings = Prediction.from_json(document).timings_ms
    assert (timings.vision_queue, timings.total) == (stages.get("vision_queue", 0.0), 5)


def test_info_of_another_server_raises_unknown():
    for response in (httpx2.Response(200, text="<html>"), httpx2.Response(200, json=["x"])):
        with pytest.raises(ApiError, match="unknown"):
            get_info(Script(response), "sync")


def test_landmarks_are_typed_and_may_be_missing_in_the_answers_of_older_services(landmark_client):
    document = landmark_client.post("/predict", content=encoded(picture(1))).json()
    (face,) = Prediction.from_json(document).faces
    assert (face.roll_degrees, face.landmarks.right_eye.x, face.landmarks.left_mouth_corner.y) == (20.0, 10.0, 34.0)
    for name in ("roll_degrees", "landmarks"):
        del document["faces"][0][name]
    (older,) = Prediction.from_json(document).faces
    assert (older.roll_degrees, older.landmarks) == (None, None)
