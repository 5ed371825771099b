"""Use KServe's client: `kserve_client.py URL MODEL CROPS.npy`; print what it returned as JSON.

`tests/compat/test_kserve.py` runs it with the interpreter that has `kserve`.
"""

import asyncio
import json
import sys

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

url, model, crops_path = sys.argv[1:]
crops = np.load(crops_path)


def request(binary_in: bool, binary_out: bool | None = None) -> InferRequest:
    tensor = InferInput("image", list(crops.shape), "UINT8")
    tensor.set_data_from_numpy(crops, binary_data=binary_in)
    outputs = None if binary_out is None else [RequestedOutput("logits", {"binary_data": binary_out})]
    return InferRequest(model, [tensor], request_id="seven", request_outputs=outputs)


async def main() -> dict:
    client = InferenceRESTClient(RESTConfig(protocol="v2", timeout=30))

    async def infer(data, name: str = model) -> list:
        response = await client.infer(url, data, model_name=name)
        return [response.model_name, response.id, response.outputs[0].as_numpy().tolist()]

    try:
        await infer(request(binary_in=True), "other")
    except httpx.HTTPStatusError as error:
        not_found = error.response.status_code
    return {
        "live": await client.is_server_live(url),
        "ready": await client.is_server_ready(url),
        "model_ready": await client.is_model_ready(url, model),
        "other_ready": await client.is_model_ready(url, "other"),
        "json": await infer(request(binary_in=False)),
        "binary_input": await infer(request(binary_in=True)),
        "binary_output": await infer(request(binary_in=True, binary_out=True)),
        "json_output": await infer(request(binary_in=True, binary_out=False)),
        "dict": await infer({"id": "seven", "inputs": request(binary_in=False).to_rest()[0]["inputs"]}),
        "not_found": not_found,
    }


print(json.dumps(asyncio.run(main())))
