"""Export of a finished run as an ONNX model with manifest, golden vectors and model card."""
