"""Bad requests against the running service: `python -m stress.bad_input`.

Each request must get its error code, never a 5xx other than the 504 of the deadline, and none may use more memory than
allowed. After each request the service must answer a portrait as before.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from stress.bad_containers import container_cases
from stress.bad_images import image_cases
from stress.bad_requests import request_cases
from stress.case import CLOSED, OK, Case
from stress.checks import RUNS, Check, conclude
from stress.client import post
from stress.service_process import ServiceProcess, run_service_process
from tests.support.images import ASTRONAUT

MEMORY_MB = 150
DEADLINE_MS = 3000
_CLIENT_TIMEOUT_S = 60
_WARM_UP_REQUESTS = 20


def cases() -> Iterator[Case]:
    """Yield all bad requests."""
    yield from image_cases()
    yield from container_cases()
    yield from request_cases()


def send(port: int, request: bytes) -> tuple[int, bytes]:
    """Send bytes over a new connection.

    Returns:
        Status and body; the status is 0 if the service closes the connection without a response.
    """
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=_CLIENT_TIMEOUT_S) as connection:
        with suppress(OSError):  # the service may answer and close the connection before it has read everything
            connection.sendall(request)
        with suppress(OSError):
            while not _is_complete(received) and (more := connection.recv(65_536)):
                received += more
    head, _, body = received.partition(b"\r\n\r\n")
    return (int(head[9:12]), body) if head else (0, b"")


def _is_complete(received: bytes) -> bool:
    head, end, body = received.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(end and lengths and len(body) >= int(lengths[0]))


def comparable(body: bytes) -> dict[str, Any]:
    """Return a response without the fields that differ between equal requests."""
    response = json.loads(body)
    return {name: value for name, value in response.items() if name not in {"request_id", "timings_ms"}}


def try_case(service: ServiceProcess, case: Case, expected: dict[str, Any], check: Check) -> float:
    """Send a bad request and then a portrait.

    Args:
        service: The running service.
        case: The bad request.
        expected: Response to the portrait.
        check: Receives the violations.

    Returns:
        The additional memory of the service during the bad request, in MB.
    """
    idle_mb = service.memory_mb
    service.reset_peak_memory()
    status, body = send(service.port, case.request)
    additional_mb = service.peak_memory_mb - idle_mb
    result = _result_of(status, body)
    check.expect(result in case.results, f"{case.name}: {result} instead of {' or '.join(case.results)}")
    check.expect(b"Traceback" not in body and b"site-packages" not in body, f"{case.name}: response with a traceback")
    check.expect(additional_mb <= MEMORY_MB, f"{case.name}: {additional_mb:.0f} MB of additional memory")
    status, body = send(service.port, post("/predict", ASTRONAUT.read_bytes()))
    check.expect(status == 200 and comparable(body) == expected, f"{case.name}: the next portrait is answered wrong")
    return additional_mb


def _result_of(status: int, body: bytes) -> str:
    """Return the error code, the status of a response without one, or `closed`."""
    if status in {0, 200}:
        return CLOSED if status == 0 else OK
    try:
        return str(json.loads(body)["code"])
    except (ValueError, KeyError):
        return str(status)


def main() -> int:
    """Print and store the check. Return 1 if a guarantee was violated."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    check = Check("bad input gets its error code and uses little memory", "")
    started, names, largest = time.monotonic(), set[str](), (0.0, "")
    log = RUNS / "bad_input.log"
    with run_service_process(log, FER_DEADLINE_MS=str(DEADLINE_MS)) as service:
        for _ in range(_WARM_UP_REQUESTS):  # until the memory of the service is constant
            status, body = send(service.port, post("/predict", ASTRONAUT.read_bytes()))
        expected = comparable(body)
        check.expect(status == 200, f"a portrait is answered with {status}")
        for case in cases():
            check.expect(case.name not in names, f"{case.name}: two requests have this name")
            names.add(case.name)
            largest = max(largest, (try_case(service, case, expected, check), case.name))
    check.expect("Traceback" not in log.read_text(), "the log contains a traceback")
    check.attempt = f"{len(names)} bad requests in {time.monotonic() - started:.0f} s"
    check.observed = f"at most {largest[0]:.0f} MB of additional memory ({largest[1]})"
    return conclude("bad_input", [check])


if __name__ == "__main__":
    sys.exit(main())
