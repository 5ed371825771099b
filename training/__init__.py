"""Keras 3 pipeline for the served model: explore, train, export, evaluate (`python -m training`)."""

import app.inference  # noqa: F401  (turns off ONNX Runtime's telemetry before another module imports ONNX Runtime)
