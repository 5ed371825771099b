"""The model at work: verified session, batching, readiness. Knows nothing of HTTP, images or detection."""
