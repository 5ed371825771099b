"""The contract between training and serving: labels, crop geometry, scores, manifest.

numpy, cv2 and pydantic only. Both sides import it; it imports nothing of either.
"""
