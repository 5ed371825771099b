"""The baseline server, as tutorials build it: `python -m benchmarks.baseline.server`.

FastAPI and OpenCV as in most examples: it decodes the whole image, runs the default frontal-face cascade over all of it
with the usual parameters 1.3 and 5, and classifies one face after the other with the same ONNX file and the defaults of
ONNX Runtime, all inside the `async def` route. The server is neither tuned nor slowed down.
"""

# mypy: ignore-errors
# Written as in tutorials, without type annotations for mypy.

from __future__ import annotations

import os

import cv2
import numpy as np
import onnxruntime as ort
import uvicorn
from fastapi import FastAPI, File, UploadFile

EMOTIONS = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]

app = FastAPI()
session = ort.InferenceSession("models/fer_vgg.onnx", providers=["CPUExecutionProvider"])
face_cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")


@app.get("/readyz")
async def ready() -> dict[str, str]:
    return {"status": "ready"}


@app.post("/predict")
async def predict(file: UploadFile = File(...)) -> dict:  # noqa: B008  (as in tutorials)
    contents = await file.read()
    image = cv2.imdecode(np.frombuffer(contents, np.uint8), cv2.IMREAD_COLOR)
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    faces = face_cascade.detectMultiScale(gray, 1.3, 5)
    results = []
    for x, y, w, h in faces:
        face = cv2.resize(gray[y : y + h, x : x + w], (48, 48))
        (logits,) = session.run(None, {"image": face.reshape(1, 48, 48, 1)})
        scores = np.exp(logits[0] - logits[0].max())
        scores = scores / scores.sum()
        results.append(
            {
                "box": {"x": int(x), "y": int(y), "width": int(w), "height": int(h)},
                "emotion": EMOTIONS[int(scores.argmax())],
                "scores": {name: float(score) for name, score in zip(EMOTIONS, scores, strict=True)},
            }
        )
    return {"faces": results}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]))
