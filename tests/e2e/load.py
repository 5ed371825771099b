"""Load on a running service, every request counted: `python3 tests/e2e/load.py URL --until FILE`.

No request is sent twice and none is forgotten: what a connection loses counts as lost. Standard library only, so that
it runs wherever Docker does.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

PHOTO = Path(__file__).parent.parent / "photos" / "astronaut.jpg"


@dataclass(frozen=True)
class Sent:
    """A request and the status that it must get."""

    path: str
    body: bytes
    content_type: str
    expected: int


def good_requests() -> list[Sent]:
    photo = PHOTO.read_bytes()
    batch = json.dumps({"images": [base64.b64encode(photo).decode()] * 4}).encode()
    return [
        Sent("/predict", photo, "image/jpeg", 200),
        Sent("/predict?detect=false", photo, "image/jpeg", 200),
        Sent("/predict?detect=false", photo, "image/jpeg", 200),
        Sent("/predict/batch?detect=false", batch, "application/json", 200),
    ]


def bad_requests() -> list[Sent]:
    return [
        Sent("/predict", b"no image at all, though long enough to be looked at", "image/jpeg", 415),
        Sent("/predict?max_faces=0", PHOTO.read_bytes(), "image/jpeg", 422),
    ]


@dataclass
class Tally:
    """What all workers saw. Guarded by the lock."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    sent: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest_s: float = 0.0

    def count(self, request: Sent, outcome: str, seconds: float, at_s: float) -> None:
        with self.lock:
            self.sent += 1
            self.statuses[outcome] += 1
            self.slowest_s = max(self.slowest_s, seconds)
            if outcome != str(request.expected):
                self.failures.append(f"{request.path} after {at_s:.1f} s: {outcome} instead of {request.expected}")


def work(url: str, requests: list[Sent], start: int, over: threading.Event, tally: Tally, began: float) -> None:
    """One caller with one kept-alive connection; a new one only after the old was lost or the server closed it."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=120)
    turn = start
    while not over.is_set():
        request = requests[turn % len(requests)]
        turn += 1
        started = time.monotonic()
        try:
            connection.request("POST", request.path, request.body, {"Content-Type": request.content_type})
            answer = connection.getresponse()
            answer.read()
            outcome = str(answer.status)
        except (OSError, http.client.HTTPException) as error:
            outcome = f"lost: {type(error).__name__}"
            connection.close()
        tally.count(request, outcome, time.monotonic() - started, started - began)
    connection.close()


def main() -> int:
    """Sends until the time is over or the file exists; the status tells whether every request got what it must."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=600, help="at most")
    parser.add_argument("--until", type=Path, help="end as soon as this file exists")
    parser.add_argument("--bad", action="store_true", help="callers' mistakes too, which must get their 4xx")
    parser.add_argument("--may-lose", type=int, default=0, help="failures that are allowed")
    arguments = parser.parse_args()
    requests = good_requests() + (bad_requests() if arguments.bad else [])
    over, tally, began = threading.Event(), Tally(), time.monotonic()
    workers = [
        threading.Thread(target=work, args=(arguments.url, requests, index, over, tally, began))
        for index in range(arguments.workers)
    ]
    for worker in workers:
        worker.start()
    while time.monotonic() - began < arguments.seconds and not (arguments.until and arguments.until.exists()):
        time.sleep(0.1)
    over.set()
    for worker in workers:
        worker.join()
    print(
        f"load: {tally.sent} requests in {time.monotonic() - began:.0f} s, {len(tally.failures)} failed,"
        f" by status {dict(sorted(tally.statuses.items()))}, slowest {tally.slowest_s:.1f} s"
    )
    for failure in tally.failures[:20]:
        print(f"  {failure}")
    return 0 if tally.sent and len(tally.failures) <= arguments.may_lose else 1


if __name__ == "__main__":
    sys.exit(main())
