"""The requests that the overload tests repeat, made from the public-domain portrait."""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL import Image

from stress.client import post
from tests.support.images import ASTRONAUT

PORTRAITS, CROPS, PHOTOGRAPHS = "portraits", "crops", "photographs"


@dataclass(frozen=True)
class Workload:
    """A request that a program sends again and again."""

    name: str
    request: bytes


def load_workloads() -> dict[str, Workload]:
    """Return requests with a portrait, with a face crop and with a photograph of twelve megapixels."""
    portrait = Image.open(ASTRONAUT)
    crop = encode(portrait.convert("L").crop((170, 50, 280, 160)).resize((48, 48)), "PNG")
    photograph = encode(portrait.resize((4000, 3000)), "JPEG", quality=90)
    return {
        PORTRAITS: Workload(PORTRAITS, post("/predict", ASTRONAUT.read_bytes())),
        CROPS: Workload(CROPS, post("/predict?detect=false", crop, "image/png")),
        PHOTOGRAPHS: Workload(PHOTOGRAPHS, post("/predict", photograph)),
    }


def encode(image: Image.Image, image_format: str, **options: object) -> bytes:
    """Return an image as an encoded file."""
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()
