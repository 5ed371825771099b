"""Measurements of a model: metrics, corruptions, test-time augmentation, latency, plots."""
