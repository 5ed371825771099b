"""The mixed traffic of the soak test."""

from __future__ import annotations

import base64
import itertools
import json
from dataclasses import dataclass

from PIL import Image

from stress.client import post
from stress.workloads import encode
from tests.support.images import ASTRONAUT

ABANDONED = 0


@dataclass(frozen=True)
class Kind:
    """One kind of request.

    Attributes:
        name: Name in the results.
        share: Share of all requests.
        request: Bytes of the request.
        status: Status that the response must have; `ABANDONED` if the client closes the connection first.
    """

    name: str
    share: float
    request: bytes
    status: int


def traffic_mix() -> list[Kind]:
    """Return all kinds of requests; their shares add up to 1."""
    photo = ASTRONAUT.read_bytes()
    portrait = Image.open(ASTRONAUT)
    text = base64.b64encode(photo).decode()
    group = Image.new("RGB", (1280, 960), (90, 100, 110))
    for column, row in itertools.product(range(3), range(2)):
        group.paste(portrait.resize((400, 400)), (column * 420, row * 440))
    crop = encode(portrait.convert("L").crop((170, 50, 280, 160)).resize((48, 48)), "PNG")
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n' + photo + b"\r\n--b--\r\n"
    batch = json.dumps({"images": [text, "not base64!", text]}).encode()
    photograph = post("/predict", encode(portrait.resize((4000, 3000)), "JPEG"))
    return [
        Kind("portrait", 0.25, post("/predict", photo), 200),
        Kind("portrait, multipart", 0.1, post("/predict", form, "multipart/form-data; boundary=b"), 200),
        Kind("portrait, base64", 0.1, post("/predict", json.dumps({"image": text}).encode(), "application/json"), 200),
        Kind("group of six", 0.1, post("/predict", encode(group, "JPEG")), 200),
        Kind("crop", 0.2, post("/predict?detect=false", crop, "image/png"), 200),
        Kind("batch of three", 0.05, post("/predict/batch", batch, "application/json"), 200),
        Kind("photograph", 0.03, photograph, 200),
        Kind("not an image", 0.05, post("/predict", b"not an image at all"), 415),
        Kind("truncated", 0.05, post("/predict", photo[: len(photo) // 2]), 422),
        Kind("bad parameter", 0.02, post("/predict?max_faces=0", photo), 422),
        Kind("abandoned", 0.05, photograph, ABANDONED),
    ]
