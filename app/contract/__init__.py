"""Definitions shared by training and serving: labels, face crop, probabilities, model manifest.

The package depends on numpy, OpenCV and pydantic only, and on nothing of the API or of the training pipeline.
"""
