"""Load generator that counts every request: `python3 tests/e2e/load.py URL --until FILE`.

Requests are not retried; a request whose connection breaks is counted as lost. Uses only the standard library, so that
it runs on every machine with Docker.
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
class Request:
    """Request and its expected status."""

    path: str
    body: bytes
    content_type: str
    expected: int


def good_requests() -> list[Request]:
    photo = PHOTO.read_bytes()
    batch = json.dumps({"images": [base64.b64encode(photo).decode()] * 4}).encode()
    return [
        Request("/predict", photo, "image/jpeg", 200),
        Request("/predict?detect=false", photo, "image/jpeg", 200),
        Request("/predict?detect=false", photo, "image/jpeg", 200),
        Request("/predict/batch?detect=false", batch, "application/json", 200),
    ]


def bad_requests() -> list[Request]:
    return [
        Request("/predict", b"not an image, but longer than the header of an image", "image/jpeg", 415),
        Request("/predict?max_faces=0", PHOTO.read_bytes(), "image/jpeg", 422),
    ]


@dataclass
class Results:
    """Results of all workers. The lock guards the other fields."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    sent: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest_s: float = 0.0

    def add(self, request: Request, outcome: str, seconds: float, elapsed_s: float) -> None:
        with self.lock:
            self.sent += 1
            self.statuses[outcome] += 1
            self.slowest_s = max(self.slowest_s, seconds)
            if outcome != str(request.expected):
                self.failures.append(f"{request.path} after {elapsed_s:.1f} s: {outcome} instead of {request.expected}")


def run_worker(
    url: str,
    requests: list[Request],
    key: str | None,
    start: int,
    stop: threading.Event,
    results: Results,
    started_at: float,
) -> None:
    """Send requests over one persistent connection until the event is set."""
    headers = {"X-API-Key": key} if key else {}
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=120)
    position = start
    while not stop.is_set():
        request = requests[position % len(requests)]
        position += 1
        started = time.monotonic()
        try:
            connection.request("POST", request.path, request.body, {**headers, "Content-Type": request.content_type})
            response = connection.getresponse()
            response.read()
            outcome = str(response.status)
        except (OSError, http.client.HTTPException) as error:
            outcome = f"lost: {type(error).__name__}"
            connection.close()
        results.add(request, outcome, time.monotonic() - started, started - started_at)
    connection.close()


def main() -> int:
    """Send requests until the time limit, or until the file exists. Return 1 if too many requests failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=600, help="time limit")
    parser.add_argument("--until", type=Path, help="stop when this file exists")
    parser.add_argument("--bad", action="store_true", help="also send invalid requests, which must get a 4xx status")
    parser.add_argument("--key", help="API key to send")
    parser.add_argument("--may-lose", type=int, default=0, help="number of failures that are allowed")
    arguments = parser.parse_args()
    requests = good_requests() + (bad_requests() if arguments.bad else [])
    stop, results, started_at = threading.Event(), Results(), time.monotonic()
    workers = [
        threading.Thread(
            target=run_worker, args=(arguments.url, requests, arguments.key, index, stop, results, started_at)
        )
        for index in range(arguments.workers)
    ]
    for worker in workers:
        worker.start()
    while time.monotonic() - started_at < arguments.seconds and not (arguments.until and arguments.until.exists()):
        time.sleep(0.1)
    stop.set()
    for worker in workers:
        worker.join()
    print(
        f"load: {results.sent} requests in {time.monotonic() - started_at:.0f} s, {len(results.failures)} failed,"
        f" by status {dict(sorted(results.statuses.items()))}, slowest {results.slowest_s:.1f} s"
    )
    for failure in results.failures[:20]:
        print(f"  {failure}")
    return 0 if results.sent and len(results.failures) <= arguments.may_lose else 1


if __name__ == "__main__":
    sys.exit(main())
