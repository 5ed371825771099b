"""Face detection: from a greyscale image to face boxes.

Modules:
    detector: `FaceDetector`, the entry point, which runs the detection passes.
    proposals: Fast searches of the whole image that return places where a face may be.
    verification: Accurate search around each proposal, with a second stage for uncertain faces.
    border: Search for a face that fills the image.
    pyramid: Downscaled copies of the image.
    cascades: OpenCV cascades, one copy per thread.
    boxes: Geometry of face boxes.
"""

from app.vision.detection.detector import FaceDetector

__all__ = ["FaceDetector"]
