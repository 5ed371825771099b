"""Mixed traffic for as long as you like: `python -m stress.soak --minutes 60`.

Portraits, photographs, crops, batches, base64, multipart, bad input and callers who hang up, in a mix that a seed
fixes. Every answer must be, byte for byte but for ids and timings, the one that the same request got when it was alone.
After a warm-up, memory, file descriptors and threads must stay flat, and latency must not grow from third to third.
With `--rate` it runs beside other work; without, four callers send as fast as they are answered.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import itertools
import json
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from stress.badinput import stable
from stress.caller import Answer, Callers, percentile, post
from stress.findings import RUNS, Finding, conclude
from stress.process import ServiceProcess, running, split_cores

PHOTO = Path("tests/photos/astronaut.jpg")
# What may be above the first third's median in the last third's: allocators keep what a rare large picture took.
MEMORY_GROWTH_MB = 30
SLOWER = 1.5
_WORKERS = 4
_WARM_UP_SHARE = 0.1
_LOOK_EVERY_S = 1.0


@dataclass(frozen=True)
class Kind:
    """A request of the mix: its share, its bytes, and the status that it must get; 0 for one that is hung up on."""

    name: str
    share: float
    request: bytes
    status: int


def kinds() -> list[Kind]:
    """The mix."""
    photo = PHOTO.read_bytes()
    portrait = Image.open(PHOTO)
    text = base64.b64encode(photo).decode()
    group = Image.new("RGB", (1280, 960), (90, 100, 110))
    for column, row in itertools.product(range(3), range(2)):
        group.paste(portrait.resize((400, 400)), (column * 420, row * 440))
    crop = _file(portrait.convert("L").crop((170, 50, 280, 160)).resize((48, 48)), "PNG")
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n' + photo + b"\r\n--b--\r\n"
    batch = json.dumps({"images": [text, "no base64!", text]}).encode()
    photograph = post("/predict", _file(portrait.resize((4000, 3000)), "JPEG"))
    return [
        Kind("portrait", 0.25, post("/predict", photo), 200),
        Kind("portrait, multipart", 0.1, post("/predict", form, "multipart/form-data; boundary=b"), 200),
        Kind("portrait, base64", 0.1, post("/predict", json.dumps({"image": text}).encode(), "application/json"), 200),
        Kind("group of six", 0.1, post("/predict", _file(group, "JPEG")), 200),
        Kind("crop", 0.2, post("/predict?detect=false", crop, "image/png"), 200),
        Kind("batch of three", 0.05, post("/predict/batch", batch, "application/json"), 200),
        Kind("photograph", 0.03, photograph, 200),
        Kind("no image", 0.05, post("/predict", b"no image at all"), 415),
        Kind("cut off", 0.05, post("/predict", photo[: len(photo) // 2]), 422),
        Kind("bad parameter", 0.02, post("/predict?max_faces=0", photo), 422),
        Kind("hung up on", 0.05, photograph, 0),
    ]


@dataclass
class Seen:
    """What the run saw."""

    alone: dict[str, dict]
    count: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    seconds: list[tuple[float, str, float]] = field(default_factory=list)
    looks: list[tuple[float, float, int, int]] = field(default_factory=list)

    def judge(self, kind: Kind, answer: Answer, at_s: float) -> None:
        """Counts an answer, and what is wrong with it."""
        self.count[kind.name] += 1
        self.seconds.append((at_s, kind.name, answer.seconds))
        if answer.status != kind.status:
            self.wrong[f"{kind.name}: {answer.status} instead of {kind.status}"] += 1
        elif comparable(answer) != self.alone[kind.name]:
            self.wrong[f"{kind.name}: another answer than alone"] += 1


def comparable(answer: Answer) -> dict:
    """An answer without ids and timings, those of a batch's entries included."""
    body = stable(answer.body)
    for entry in body.get("results", []):
        entry.pop("request_id", None)
        entry.pop("timings_ms", None)
        entry.get("error", {}).pop("request_id", None)
    return body


async def soak(service: ServiceProcess, seconds: float, rate: float | None, seed: int) -> Seen:
    """Runs the mix."""
    mix = kinds()
    callers = Callers(service.port)
    seen = Seen({kind.name: comparable(await callers.ask(kind.request)) for kind in mix if kind.status})
    generator = np.random.default_rng(seed)
    shares = np.array([kind.share for kind in mix])
    began = time.monotonic()

    async def send() -> None:
        kind = mix[generator.choice(len(mix), p=shares / shares.sum())]
        if kind.status == 0:
            await callers.abandon(kind.request, after_s=float(generator.uniform(0, 0.1)))
            seen.count[kind.name] += 1
        else:
            answer = await callers.ask(kind.request)
            seen.judge(kind, answer, time.monotonic() - began)

    async def work() -> None:
        while time.monotonic() - began < seconds:
            await send()

    async def at_rate(each: float) -> None:
        sent: set[asyncio.Task[None]] = set()
        for number in itertools.count(1):
            sent.add(asyncio.create_task(send()))
            sent = {task for task in sent if not task.done()}
            await asyncio.sleep(max(0.0, began + number / each - time.monotonic()))
            if time.monotonic() - began >= seconds:
                break
        await asyncio.gather(*sent)

    async def look() -> None:
        while True:
            at_s = time.monotonic() - began
            seen.looks.append((at_s, service.memory_mb, len(service.descriptors), service.threads))
            await asyncio.sleep(_LOOK_EVERY_S)

    looking = asyncio.create_task(look())
    await (at_rate(rate) if rate else asyncio.gather(*(work() for _ in range(_WORKERS))))
    looking.cancel()
    callers.close()
    return seen


def judge(seen: Seen, seconds: float) -> tuple[list[Finding], dict]:
    """The findings, and the figures by thirds of the time after the warm-up."""
    begin = seconds * _WARM_UP_SHARE
    bounds = [begin + (seconds - begin) * third / 3 for third in range(4)]
    thirds: list[dict[str, float]] = []
    for low, high in itertools.pairwise(bounds):
        looks = [look for look in seen.looks if low <= look[0] < high]
        portraits = [took for at_s, name, took in seen.seconds if low <= at_s < high and name == "portrait"]
        thirds.append(
            {
                "memory_mb": percentile([look[1] for look in looks], 0.5),
                "descriptors": percentile([float(look[2]) for look in looks], 0.5),
                "threads": max((look[3] for look in looks), default=0),
                "portrait_p50_ms": 1000 * percentile(portraits, 0.5),
                "portrait_p95_ms": 1000 * percentile(portraits, 0.95),
            }
        )
    first, last = thirds[0], thirds[-1]
    total = sum(seen.count.values())
    answers = Finding("answers under load are those that requests got alone", f"{total} requests in {seconds:.0f} s")
    answers.seen = ", ".join(f"{count} {name}" for name, count in seen.count.most_common())
    answers.broke = [f"{count} x {what}" for what, count in seen.wrong.most_common(5)]
    flat = Finding("nothing leaks", f"{len(seen.looks)} looks, by thirds of the time")
    flat.seen = "; ".join(
        f"{third['memory_mb']:.0f} MB, {third['descriptors']:.0f} files, {third['threads']:.0f} threads"
        for third in thirds
    )
    growth_mb = last["memory_mb"] - first["memory_mb"]
    flat.expect(growth_mb <= MEMORY_GROWTH_MB, f"memory grew by {growth_mb:.0f} MB")
    flat.expect(last["descriptors"] <= first["descriptors"] + _WORKERS, "open files grew")
    flat.expect(last["threads"] <= first["threads"], "threads grew")
    steady = Finding("latency does not grow", "median and 95 % of portraits, by thirds of the time")
    steady.seen = "; ".join(f"{third['portrait_p50_ms']:.0f} and {third['portrait_p95_ms']:.0f} ms" for third in thirds)
    slower = last["portrait_p50_ms"] / max(first["portrait_p50_ms"], 0.001)
    steady.expect(slower <= SLOWER, f"{slower:.2f} times as slow")
    return [answers, flat, steady], {"thirds": thirds, "requests": total}


def _file(image: Image.Image, image_format: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, image_format)
    return stream.getvalue()


def main() -> int:
    """Prints and keeps the findings; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=float, help="requests a second; without it, four callers without pause")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    ours, theirs = split_cores()
    os.sched_setaffinity(0, theirs)
    seconds = arguments.minutes * 60
    with running(RUNS / "soak.log", ours, FER_DEADLINE_MS="60000") as service:
        seen = asyncio.run(soak(service, seconds, arguments.rate, arguments.seed))
        ended = service.process.poll()
    findings, figures = judge(seen, seconds)
    findings[0].expect(ended is None, f"the process ended with {ended}")
    return conclude("soak", findings, minutes=arguments.minutes, rate=arguments.rate, cores=len(ours), **figures)


if __name__ == "__main__":
    sys.exit(main())
