"""The loaded model, its life cycle, and the two queues in front of it. It does not depend on HTTP."""
