"""Model inference: verified ONNX Runtime session and batcher. Independent of HTTP, image files and detection."""

import os

# Since 1.29, ONNX Runtime for Linux stores a machine id in the home folder and reports every session to its vendor.
# Only this variable prevents it, and only if it is set before the library is loaded. A service that processes
# photographs of people must not report to anybody.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
