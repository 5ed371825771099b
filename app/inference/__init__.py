"""The model at work: verified session, batching, readiness. Knows nothing of HTTP, images or detection."""

import os

# Since 1.29, ONNX Runtime for Linux gives the machine an id, keeps it in the home folder and reports every session to
# its maker. Only this variable stops it, and only where it is set before the library is loaded. A service for
# photographs of people reports to nobody.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
