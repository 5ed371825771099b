"""Face detection with YuNet, a small convolutional network of OpenCV Zoo. The operator supplies its ONNX file.

Modules:
    detector: `YuNetDetector`, the entry point, which runs the detection passes.
    faces: Faces in an image, their geometry, and duplicates.
    framing: From YuNet's box and landmarks to the framing of FER2013 and the roll.
    model: The verified network: from an image to faces.
    views: Scaled and turned copies of the image and of its parts.

Source: Wu, Peng and Yu, "YuNet: A Tiny Millisecond-level Face Detector", 2023.
"""

from app.vision.yunet.detector import YuNetDetector
from app.vision.yunet.model import DetectorModelError, YuNet

__all__ = ["DetectorModelError", "YuNet", "YuNetDetector"]
