"""Use openapi-generator's Python client: `openapi_generator_python.py URL IMAGE EMPTY`; print what it returned as JSON.

`tests/client/test_generated.py` runs it with the interpreter that has the generated package.
"""

import base64
import json
import sys
from pathlib import Path

import openapi_client
from openapi_client.exceptions import ApiException

url, image_path, empty_path = sys.argv[1:]
image, empty = Path(image_path).read_bytes(), Path(empty_path).read_bytes()
text = base64.b64encode(image).decode()

with openapi_client.ApiClient(openapi_client.Configuration(host=url)) as client:
    predict, operations = openapi_client.PredictApi(client), openapi_client.OperationsApi(client)

    def code_of(call) -> str:
        try:
            call()
        except ApiException as error:
            return error.data.code.value
        raise AssertionError("the call did not fail")

    def entry(result) -> str:
        result = result.actual_instance
        return result.error.code.value if hasattr(result, "error") else result.emotion

    form = predict.predict_form(file=image)
    face = form.faces[0]
    body = openapi_client.PredictBody(image=text, max_faces=1)
    nothing = predict.predict_form(file=("empty.png", empty))
    doubtful = predict.predict_form(file=image, min_confidence=1.0, coverage=0.9)
    whole = predict.predict_form(file=image, detect=False)
    files = predict.predict_batch_form(file=[image, b"no image"])
    texts = predict.predict_batch(openapi_client.PredictBatchBody(images=[text, "%"]))
    returned = {
        "form": [len(form.faces), form.emotion, face.box.width, dict(form.scores) == dict(face.scores)],
        "json": len(predict.predict(body).faces),
        "query": len(predict.predict_form(file=image, max_faces=1).faces),
        "header": len(predict.predict_form(file=image, priority="u=5", x_request_timeout_ms=60_000).faces),
        "nulls": [nothing.emotion, nothing.scores, whole.faces[0].detection_confidence, face.landmarks],
        "warnings": [warning.value for warning in nothing.warnings],
        "doubt": [doubtful.emotion, doubtful.faces[0].prediction_set[0].value == form.emotion],
        "batch_form": [entry(result) for result in files.results],
        "batch_json": [entry(result) for result in texts.results],
        "errors": [
            code_of(lambda: predict.predict_form(file=b"no image")),
            code_of(lambda: predict.predict(openapi_client.PredictBody(image="%"))),
        ],
        "metrics": "fer_requests_total{" in operations.metrics(),
        "info": [operations.info().name, operations.readyz().status, operations.healthz().status],
    }
print(json.dumps(returned))
