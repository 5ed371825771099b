"""The Open Inference Protocol v2: JSON, binary data and, where it is installed, Triton's client."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest

from app.compat.inference_protocol.parsing import HEADER_LENGTH
from app.contract.labels import LABELS
from app.contract.scores import probabilities
from app.engine.readiness import State
from tests.support.fakes import make_manifest
from tests.support.images import encoded

CROPS = np.random.default_rng(0).integers(0, 256, size=(3, 48, 48, 1), dtype=np.uint8)
MODEL = "/v2/models/fake"


def tensor(crops: np.ndarray = CROPS, **changes) -> dict:
    image = {"name": "image", "shape": list(crops.shape), "datatype": "UINT8", "data": crops.ravel().tolist()}
    return {"inputs": [image | changes]}


def with_binary(crops: np.ndarray = CROPS, **members) -> dict:
    image = {"name": "image", "shape": list(crops.shape), "datatype": "UINT8"}
    document = {"inputs": [image | {"parameters": {"binary_data_size": crops.nbytes}}]} | members
    header = json.dumps(document).encode()
    return {"content": header + crops.tobytes(), "headers": {HEADER_LENGTH: str(len(header))}}


def expected_logits(classifier) -> np.ndarray:
    return np.stack(classifier.classify(list(CROPS)))


def test_metadata_and_health_follow_the_protocol(client):
    assert client.get("/v2").json() == {
        "name": "fer-serve",
        "version": client.app.version,
        "extensions": ["binary_tensor_data"],
    }
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    for path in (MODEL, f"{MODEL}/versions/2026.11.1"):
        assert client.get(path).json() == {
            "name": "fake",
            "versions": ["2026.11.1"],
            "platform": "onnx_onnxv1",
            "inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, 48, 48, 1]}],
            "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 7]}],
        }
        assert client.get(path + "/ready").json() == {"name": "fake", "ready": True}


def test_health_is_503_while_not_ready(client):
    client.app.state.service.readiness.state = State.STARTING
    for path in ("/v2/health/ready", MODEL + "/ready"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["ready"]) == (503, False)
    assert client.get("/v2/health/live").status_code == 200


@pytest.mark.parametrize("path", ["/v2/models/other", f"{MODEL}/versions/1", f"{MODEL}/versions/1/ready"])
def test_unknown_model_or_version_is_not_found(client, path):
    answer = client.get(path)
    assert (answer.status_code, set(answer.json())) == (404, {"error"})
    assert "fake 2026.11.1" in answer.json()["error"]


@pytest.mark.parametrize("data", [CROPS.ravel().tolist(), CROPS.tolist()], ids=["flat", "nested"])
def test_infer_returns_the_logits_of_the_network(client, classifier, data):
    for path in (MODEL, f"{MODEL}/versions/2026.11.1"):
        answer = client.post(path + "/infer", json=tensor(data=data) | {"id": "seven"})
        assert answer.status_code == 200, answer.text
        body = answer.json()
        (output,) = body.pop("outputs")
        assert body == {"model_name": "fake", "model_version": "2026.11.1", "id": "seven"}
        assert {key: output[key] for key in ("name", "datatype", "shape")} == {
            "name": "logits",
            "datatype": "FP32",
            "shape": [3, 7],
        }
        assert np.array_equal(np.float32(output["data"]).reshape(3, 7), expected_logits(classifier))


@pytest.mark.parametrize(
    "members",
    [
        {"parameters": {"binary_data_output": True}},
        {"outputs": [{"name": "logits", "parameters": {"binary_data": True}}]},
    ],
)
def test_infer_accepts_and_returns_binary_data(client, classifier, members):
    answer = client.post(MODEL + "/infer", **with_binary(**members))
    assert answer.status_code == 200, answer.text
    length = int(answer.headers[HEADER_LENGTH])
    (output,) = json.loads(answer.content[:length])["outputs"]
    assert output["parameters"] == {"binary_data_size": 3 * 7 * 4}
    assert "data" not in output
    raw = np.frombuffer(answer.content[length:], dtype="<f4").reshape(3, 7)
    assert np.array_equal(raw, expected_logits(classifier))


def test_infer_with_binary_input_returns_json_unless_binary_is_requested(client):
    for members in ({}, {"outputs": [{"name": "logits"}]}):
        assert len(client.post(MODEL + "/infer", **with_binary(**members)).json()["outputs"][0]["data"]) == 21


def test_calibrated_logits_equal_the_scores_of_predict(make_client, classifier):
    classifier.manifest = make_manifest(temperature=1.7)
    client = make_client()
    crop = CROPS[:1]
    data = client.post(MODEL + "/infer", json=tensor(crop)).json()["outputs"][0]["data"]
    (scores,) = probabilities(np.float32([data]), 1.7)
    expected = client.post("/predict?detect=false", content=encoded(crop[0, :, :, 0])).json()["scores"]
    assert [expected[label] for label in LABELS] == pytest.approx(scores.tolist(), abs=1e-6)


def test_infer_shares_queue_and_batches_with_predict(client, classifier):
    client.post(MODEL + "/infer", json=tensor())
    assert classifier.batches == [3]
    assert "fer_batch_size_sum 3.0" in client.get("/metrics").text


WRONG = {
    "no json": {"content": b"{"},
    "nothing": {"content": b""},
    "no inputs": {"json": {"inputs": []}},
    "two inputs": {"json": {"inputs": tensor()["inputs"] * 2}},
    "other name": {"json": tensor(name="pixels")},
    "other type": {"json": tensor(datatype="FP32")},
    "other shape": {"json": tensor(shape=[3, 48, 48])},
    "no crops": {"json": tensor(shape=[0, 48, 48, 1], data=[])},
    "negative shape": {"json": tensor(shape=[-1, 48, 48, 1])},
    "huge shape": {"json": tensor(shape=[2**62, 48, 48, 1])},
    "too few": {"json": tensor(shape=[4, 48, 48, 1])},
    "no data": {"json": tensor(data=None)},
    "fractions": {"json": tensor(data=[0.5] * CROPS.size)},
    "texts": {"json": tensor(data=["1"] * CROPS.size)},
    "above 255": {"json": tensor(data=[256] * CROPS.size)},
    "below 0": {"json": tensor(data=[-1] * CROPS.size)},
    "beyond 64 bits": {"json": tensor(data=[2**80] * CROPS.size)},
    "long texts": {"json": tensor(data=["a" * 250_000] + [""] * 2000)},
    "booleans": {"json": tensor(data=[True] * CROPS.size)},
    "many inputs": {"json": {"inputs": [{}] * 50_000}},
    "shape of many texts": {"json": tensor(shape=[""] * 50_000)},
    "ragged": {"json": tensor(data=[[1], [1, 2]])},
    "nested otherwise": {"json": tensor(data=CROPS.reshape(3, -1).tolist())},
    "other output": {"json": tensor() | {"outputs": [{"name": "scores"}]}},
    "classification": {"json": tensor() | {"outputs": [{"name": "logits", "parameters": {"classification": 2}}]}},
    "shared memory": {"json": tensor(parameters={"shared_memory_region": "r"})},
    "binary missing": {"json": tensor(data=None, parameters={"binary_data_size": CROPS.nbytes})},
    "binary and data": {"json": tensor(parameters={"binary_data_size": 0})},
    "header length": {"json": tensor(), "headers": {HEADER_LENGTH: "99999999"}},
    "header no number": {"json": tensor(), "headers": {HEADER_LENGTH: "²"}},
    "header of many digits": {"json": tensor(), "headers": {HEADER_LENGTH: "0" * 5000}},
    "deep lists": {"content": b'{"inputs": ' + b"[" * 100_000},
    "two levels of one crop": {"json": tensor(CROPS[:1], data=CROPS[0].tolist())},
    "too many nested crops": {"json": tensor(CROPS[:2], data=CROPS.tolist())},
    "name that is not UTF-8": {"content": b'{"inputs": [{"name": "\xff", "shape": [], "datatype": ""}]}'},
}


@pytest.mark.parametrize("case", WRONG)
def test_infer_malformed_request_returns_the_error_of_the_protocol(client, case):
    arguments = dict(WRONG[case])
    if "headers" in arguments:
        arguments["headers"] = {name: value.encode() for name, value in arguments["headers"].items()}
    answer = client.post(MODEL + "/infer", **arguments)
    assert (answer.status_code, set(answer.json())) == (400, {"error"}), answer.text
    assert answer.json()["error"]


def test_infer_applies_the_limits(make_client, classifier):
    client = make_client(max_batch=2, max_queue=1, api_keys="key")
    key = {"X-API-Key": "key"}
    assert client.post(MODEL + "/infer", json=tensor()).status_code == 401
    assert client.get(MODEL).status_code == 401
    assert client.get("/v2/health/ready").status_code == 200
    many = client.post(MODEL + "/infer", json=tensor(), headers=key)
    assert (many.status_code, "N from 1 to 2" in many.json()["error"]) == (400, True)
    assert client.post(MODEL + "/infer", json=tensor(CROPS[:2]), headers=key).status_code == 200
    permit = client.app.state.service.admission.acquire(0)
    permit.__enter__()
    busy = client.post(MODEL + "/infer", json=tensor(CROPS[:2]), headers=key)
    assert (busy.status_code, set(busy.json()), busy.headers["retry-after"]) == (503, {"error"}, "1")


def test_infer_after_the_deadline_and_on_failure_returns_the_error_of_the_protocol(make_client, classifier):
    client = make_client(deadline_ms=100)
    classifier.released.clear()
    late = client.post(MODEL + "/infer", json=tensor(CROPS[:1]))
    assert (late.status_code, set(late.json())) == (504, {"error"})
    classifier.released.set()
    patient = make_client()
    classifier.poison = int(CROPS[0, 0, 0, 0])
    fault = patient.post(MODEL + "/infer", json=tensor(CROPS[:1]))
    assert (fault.status_code, set(fault.json())) == (500, {"error"})
    assert "secret" not in fault.text


@pytest.mark.filterwarnings("ignore")  # gevent's own
@pytest.mark.parametrize("binary", [True, False])
def test_real_triton_client_runs_the_model(make_server, classifier, binary):
    triton = pytest.importorskip("tritonclient.http", reason="Triton's client: see requirements/clients.txt")
    from tritonclient.utils import InferenceServerException

    client = triton.InferenceServerClient(make_server().removeprefix("http://"))
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("fake")
    assert client.is_model_ready("fake", "2026.11.1")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    (described,) = client.get_model_metadata("fake")["inputs"]
    assert described["shape"] == [-1, 48, 48, 1]
    image = triton.InferInput(described["name"], list(CROPS.shape), described["datatype"])
    image.set_data_from_numpy(CROPS, binary_data=binary)
    wanted = triton.InferRequestedOutput("logits", binary_data=binary)
    result = client.infer("fake", [image], outputs=[wanted], request_id="seven")
    assert np.array_equal(result.as_numpy("logits"), expected_logits(classifier))
    assert result.get_response()["id"] == "seven"
    assert np.array_equal(client.infer("fake", [image]).as_numpy("logits"), expected_logits(classifier))
    with pytest.raises(InferenceServerException, match="expected the model fake"):
        client.infer("resnet50", [image])
    client.close()


def test_infer_texts_for_numbers_take_little_memory(client):
    """A numpy array of texts takes the length of the longest text for each."""
    tracemalloc.start()
    try:
        client.post(MODEL + "/infer", json=tensor(data=["a" * 250_000] + [""] * 2000))
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_version_is_in_the_path_only(client):
    assert client.get(MODEL + "?version=9").status_code == 200
    assert client.get(MODEL + "/versions/9").status_code == 404
