"""The Keras 3 pipeline behind the served model: explore, train, export, evaluate (`python -m training`)."""

import app.inference  # noqa: F401  (turns ONNX Runtime's telemetry off before anything here loads it)
