"""From a finished run to a served ONNX model with manifest, golden vectors and card."""
