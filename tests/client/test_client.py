"""The Python client against the real service on a real socket, and its retries against a scripted one."""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections.abc import Callable

import httpx2
import pytest
from fer_client import ApiError, AsyncFerClient, ConnectionFailedError, FerClient, FerClientError, RetryPolicy

from tests.support.images import encoded, picture

PNG = encoded(picture(2))
AT_ONCE = RetryPolicy(attempts=3, base_s=0)


def test_predict_gives_typed_faces(make_server, tmp_path):
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
        assert prediction.confidence == prediction.faces[0].confidence
        assert (prediction.faces[0].box.width, prediction.width_px, prediction.height_px) == (40, 160, 120)
        assert prediction.model.name == "fake"
        assert prediction.timings_ms.total > 0
        assert prediction.request_id
        assert client.predict(PNG).faces == prediction.faces
        assert client.is_ready()
        assert client.info()["name"] == "fake"


def test_predict_options_reach_the_service(make_server):
    with FerClient(make_server()) as client:
        assert len(client.predict(PNG, max_faces=1).faces) == 1
        assert client.predict(PNG, min_face_size_px=41).faces == ()
        (whole,) = client.predict(PNG, detect=False).faces
        assert (whole.box.width, whole.detection_confidence) == (160, None)
        empty = client.predict(encoded(picture(0)))
        assert (empty.emotion, empty.confidence, empty.warnings) == (None, None, ("no_face_detected",))
        with pytest.raises(ApiError, match="no_face_detected") as caught:
            client.predict(encoded(picture(0)), require_face=True)
        assert (caught.value.status, caught.value.code) == (422, "no_face_detected")
        assert caught.value.request_id in str(caught.value)


def test_predict_many_keeps_order_and_errors_apart(make_server):
    with FerClient(make_server(max_images=3)) as client:
        good, bad, empty = client.predict_many([PNG, b"no image", encoded(picture(0))])
        assert len(good.faces) == 2
        assert isinstance(bad, ApiError)
        assert bad.code == "unsupported_image_format"
        assert empty.faces == ()
        with pytest.raises(ApiError, match="too_many_images"):
            client.predict_many([PNG] * 4)


def test_api_key_is_sent(make_server):
    url = make_server(api_keys="right")
    with FerClient(url, api_key="right") as client:
        assert client.predict(PNG).faces
    with FerClient(url) as client, pytest.raises(ApiError, match="unauthorized"):
        client.predict(PNG)


def test_async_client_answers_the_same(make_server):
    url = make_server()

    async def scenario():
        async with AsyncFerClient(url) as client:
            one, many = await asyncio.gather(client.predict(PNG), client.predict_many([PNG, b"x"]))
            assert await client.is_ready()
            assert (await client.info())["name"] == "fake"
            with pytest.raises(ApiError, match="empty_image"):
                await client.predict(b"")
            return one, many

    one, many = asyncio.run(scenario())
    with FerClient(url) as client:
        assert one.faces == client.predict(PNG).faces == many[0].faces
    assert isinstance(many[1], ApiError)


def test_async_client_offers_the_same_calls():
    def calls(client: type) -> dict:
        public = {name: member for name, member in vars(client).items() if not name.startswith("_")}
        return {name: list(inspect.signature(member).parameters) for name, member in public.items()}

    assert calls(FerClient) == calls(AsyncFerClient)


def problem(status: int, code: str, **headers: str) -> httpx2.Response:
    body = {"status": status, "code": code, "detail": "a sentence", "request_id": "r"}
    return httpx2.Response(status, json=body, headers=headers)


class Script:
    """Answers one after another, and counts."""

    def __init__(self, *answers: httpx2.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer


def ask(script: Script, kind: str, policy: RetryPolicy = AT_ONCE) -> dict:
    """`info()` of either client over a scripted service."""
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
def test_passing_failures_are_asked_again(kind, failure: Callable[[], httpx2.Response | Exception]):
    script = Script(failure(), failure(), httpx2.Response(200, json=INFO))
    assert ask(script, kind) == INFO
    assert len(script.requests) == 3


@both
@pytest.mark.parametrize(("status", "code"), [(422, "undecodable_image"), (500, "internal"), (401, "unauthorized")])
def test_lasting_failures_are_not_asked_again(kind, status, code):
    script = Script(problem(status, code))
    with pytest.raises(ApiError):
        ask(script, kind)
    assert len(script.requests) == 1


@both
def test_retries_end_with_the_last_failure(kind):
    script = Script(problem(503, "overloaded"))
    with pytest.raises(ApiError, match="overloaded"):
        ask(script, kind)
    assert len(script.requests) == 3
    broken = Script(httpx2.ConnectError("refused"))
    with pytest.raises(ConnectionFailedError, match="3 attempts"):
        ask(broken, kind)
    assert len(broken.requests) == 3


@both
def test_the_body_is_sent_whole_in_every_attempt(kind):
    script = Script(problem(503, "overloaded"), httpx2.Response(200, json={"results": []}))
    if kind == "sync":
        FerClient("http://s", retries=AT_ONCE, transport=httpx2.MockTransport(script)).predict_many([PNG])
    else:

        async def scenario():
            transport = httpx2.MockTransport(script)
            await AsyncFerClient("http://s", retries=AT_ONCE, transport=transport).predict_many([PNG])

        asyncio.run(scenario())
    assert all(PNG in request.read() for request in script.requests)
    assert len(script.requests) == 2


@pytest.mark.parametrize("seconds", ["7", " 7 "])
def test_waits_honour_retry_after_and_grow_with_jitter_up_to_their_bound(seconds):
    policy = RetryPolicy(attempts=5, base_s=1, longest_s=20)
    waits = [policy.wait_s(1, seconds) for _ in range(200)]
    assert all(7 <= wait <= 8 for wait in waits)
    assert len(set(waits)) > 100
    later = [policy.wait_s(3, None) for _ in range(200)]
    assert max(later) > 2  # 4 is its bound, chosen uniformly
    assert max(later) <= 4
    assert policy.wait_s(1, "3600") == 20
    assert all(policy.wait_s(1, nonsense) <= 1 for nonsense in ("soon", "-5", "", "Wed, 21 Oct 2015 07:28:00 GMT", "²"))


@both
def test_the_client_waits_as_long_as_the_policy_says(kind, monkeypatch):
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("fer_client.client.asyncio.sleep", sleep)
    script = Script(problem(503, "overloaded", **{"Retry-After": "2"}), httpx2.Response(200, json=INFO))
    ask(script, kind)
    assert slept == [2.0]


def test_answers_of_other_servers_are_errors_and_not_riddles():
    for answer in (httpx2.Response(404, text="nginx"), httpx2.Response(404, json=["x"]), httpx2.Response(418, json={})):
        with pytest.raises(ApiError, match="unknown"):
            ask(Script(answer), "sync")
    for body in ({}, [], {"faces": 1}):
        client = FerClient("http://s", transport=httpx2.MockTransport(Script(httpx2.Response(200, json=body))))
        with pytest.raises(ApiError, match=r"not one of fer-serve's"):
            client.predict(PNG)


def test_an_instance_that_is_not_there_is_not_ready():
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with FerClient(url, retries=AT_ONCE, timeout_s=2) as client:
            assert not client.is_ready()
            with pytest.raises(FerClientError):
                client.predict(PNG)


def test_a_silent_service_meets_the_timeout():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with (
            FerClient(url, timeout_s=0.05, retries=RetryPolicy(attempts=1)) as client,
            pytest.raises(ConnectionFailedError, match="Timeout"),
        ):
            client.predict(PNG)


@pytest.mark.parametrize("arguments", [{"attempts": 0}, {"base_s": -1}, {"longest_s": -1}])
def test_policies_without_sense_are_refused(arguments):
    with pytest.raises(ValueError, match="Received"):
        RetryPolicy(**arguments)


def test_predict_many_takes_the_options_of_predict(make_server):
    with FerClient(make_server()) as client:
        (one,) = client.predict_many([PNG], max_faces=1)
        (none,) = client.predict_many([PNG], min_face_size_px=41)
        (error,) = client.predict_many([encoded(picture(0))], require_face=True)
    assert (len(one.faces), none.faces, error.code) == (1, (), "no_face_detected")


def test_what_cannot_be_sent_is_refused_in_words(make_server):
    with pytest.raises(ValueError, match="api_key must be of printable ASCII"):
        FerClient("http://127.0.0.1:1", api_key="schlüssel")
    with FerClient(make_server()) as client, pytest.raises(TypeError, match=r"Path\('photo.jpg'\) names a file"):
        client.predict("photo.jpg")


def test_info_of_another_server_is_an_error(make_server):
    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, text="<html>"))
    with FerClient("http://x", transport=transport) as client, pytest.raises(ApiError, match="unknown"):
        client.info()
