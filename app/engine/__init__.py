"""The loaded model, its life cycle, and the two queues in front of it. Knows nothing of HTTP."""
