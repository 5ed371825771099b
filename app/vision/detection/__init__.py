"""Face detection: from a greyscale image to face boxes.

Modules:
    detector: `FaceDetector`, the entry point, which runs the detection passes.
    proposals: Fast searches of the whole image that return places where a face may be.
    verification: Accurate search around each proposal, which counts hits.
    acceptance: The decision which verified places show a face.
    search: State of the search for the faces of one image.
    border: Proposals of a face that fills the image.
    turned: Search for turned faces.
    region: Surroundings of a place, scaled and turned.
    pyramid: Downscaled copies of the image.
    cascades: OpenCV cascades, one copy per thread.
    boxes: Geometry of face boxes.
"""

from app.vision.detection.detector import FaceDetector

__all__ = ["FaceDetector"]
