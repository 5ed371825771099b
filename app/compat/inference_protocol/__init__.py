"""The Open Inference Protocol (v2) over HTTP, as KServe and Triton implement it: crops in, logits out.

Clients cut out faces as `app.contract.preprocess` does and calibrate the logits as `/info` describes. Requests share
the permits, deadline, queue and batches of the native API.

Reference: kserve/open-inference-protocol, `inference_rest.md` with the extension "binary tensor data".
"""

from app.compat.inference_protocol.routes import ROUTERS

__all__ = ["ROUTERS"]
