"""Use openapi-python-client's client: `openapi_python_client.py URL IMAGE EMPTY`; print what it returned as JSON.

`tests/client/test_generated.py` runs it with the interpreter that has the generated package.
"""

import base64
import io
import json
import sys
from pathlib import Path

from fer_serve_client import Client
from fer_serve_client import models as m
from fer_serve_client.api.operations import healthz, info, metrics, readyz
from fer_serve_client.api.predict import predict, predict_batch, predict_batch_form, predict_form
from fer_serve_client.types import File

url, image_path, empty_path = sys.argv[1:]
image, empty = Path(image_path).read_bytes(), Path(empty_path).read_bytes()
text = base64.b64encode(image).decode()


def file(content: bytes) -> File:
    return File(io.BytesIO(content), file_name="photo.png")


def upload(content: bytes = image, **options):
    return predict_form.sync(client=client, body=m.PredictFormBody(file=file(content)), **options)


def entry(result) -> str:
    return result.error.code.value if isinstance(result, m.BatchEntryError) else emotion(result)


def emotion(result) -> str:
    return getattr(result.emotion, "value", result.emotion)


with Client(base_url=url, raise_on_unexpected_status=True) as client:
    form = upload()
    face = form.faces[0]
    nothing = upload(empty)
    doubtful, whole = upload(min_confidence=1.0, coverage=0.9), upload(detect=False)
    body = m.PredictBatchFormBody(file=[file(image), file(b"no image")])
    files = predict_batch_form.sync(client=client, body=body)
    texts = predict_batch.sync(client=client, body=m.PredictBatchJsonPredictBatchBody(images=[text, "%"]))
    bad_text = m.PredictJsonPredictBody(image="%")
    returned = {
        "form": [len(form.faces), emotion(form), face.box.width, form.scores.to_dict() == face.scores.to_dict()],
        # This client always sends the defaults of the query, which override the body.
        "json": len(predict.sync(client=client, body=m.PredictJsonPredictBody(image=text), max_faces=1).faces),
        "query": len(upload(max_faces=1).faces),
        "header": len(upload(priority="u=5", x_request_timeout_ms=60_000).faces),
        "nulls": [nothing.emotion, nothing.scores, whole.faces[0].detection_confidence, face.landmarks],
        "warnings": [warning.value for warning in nothing.warnings],
        "doubt": [doubtful.emotion, doubtful.faces[0].prediction_set[0].value == emotion(form)],
        "batch_form": [entry(result) for result in files.results],
        "batch_json": [entry(result) for result in texts.results],
        "errors": [upload(b"no image").code.value, predict.sync(client=client, body=bad_text).code.value],
        "metrics": "fer_requests_total{" in metrics.sync(client=client),
        "info": [info.sync(client=client).name, readyz.sync(client=client).status, healthz.sync(client=client).status],
    }
print(json.dumps(returned))
