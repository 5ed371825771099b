"""Measurements of the service over HTTP, round by round, beside the baseline server and the pipeline without HTTP."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.domain import FaceBox
from benchmarks import in_process, load_generator
from benchmarks.measurement import Job
from benchmarks.servers import BASELINE, SERVICE, Server, run_baseline, run_service
from benchmarks.summary import spread_of, summarize, summarize_in_process
from benchmarks.workloads import FACES, FORMS, LARGE, PHOTOGRAPHS, PORTRAITS, Form, Workload, multipart_request
from tests.support.photographs import count_found, load_photographs

IN_PROCESS = "in_process"
CLIENTS = (1, 16, 128)
# Arrivals per second as a share of the throughput with 16 clients.
OPEN_LOADS = (0.3, 0.5, 0.7, 0.8, 0.9)
_OPEN_CONNECTIONS = 256
MEMORY_FIRST = 1_000  # requests after which the memory must stay constant
MIN_REQUESTS = 100  # a smaller sample has no 99th percentile


@dataclass(frozen=True)
class Plan:
    """Rounds and times of a run.

    Attributes:
        rounds: Number of rounds.
        seconds: Length of one measured window.
        warm_up_s: Load before each window.
        memory_requests: Requests of the memory measurement.
        photographs: Number of photographs, the smallest first; None for all.
    """

    rounds: int
    seconds: float
    warm_up_s: float
    memory_requests: int
    photographs: int | None = None

    @classmethod
    def of(cls, quick: bool, rounds: int | None) -> Plan:
        """Return the plan of a full run or of a quick run that only shows that everything works."""
        if quick:
            return cls(rounds or 1, 0.5, 0.3, 2_000, photographs=5)
        return cls(rounds or 3, 4.0, 1.5, 50_000)

    @property
    def min_requests(self) -> int:
        """Smallest number of requests in a window of the service."""
        return MIN_REQUESTS if self.rounds > 1 else 0


@contextmanager
def temporary_files(contents: tuple[bytes, ...]) -> Iterator[list[str]]:
    """Write files into a temporary folder that is removed with the context, and return their paths."""
    with tempfile.TemporaryDirectory(prefix="fer-bench-") as folder:
        paths = [Path(folder, f"{index:04d}") for index in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        yield [str(path) for path in paths]


def requests_of(workload: Workload, form: Form = multipart_request) -> tuple[bytes, ...]:
    """Return the HTTP requests of a workload."""
    return tuple(form(file, workload.detect) for file in workload.files)


def measure_window(server: Server, requests: list[str], clients: int, plan: Plan, **options: Any) -> dict[str, float]:
    """Run the load generator once and return the figures of the measured window.

    Args:
        server: The server to measure.
        requests: Paths of request files.
        clients: Number of connections.
        plan: Warm-up and length of the window.
        options: More attributes of `Job`.
    """
    job = Job(server.port, server.pid, requests, clients, warm_up_s=plan.warm_up_s, seconds=plan.seconds, **options)
    return summarize(load_generator.run_job(job))


def describe_window(window: Mapping[str, float]) -> str:
    """Return one line of text with the main figures of a window."""
    return (
        f"{window['per_s']:.1f}/s, p50 {window['p50_ms']:.1f} ms, p99 {window['p99_ms']:.1f} ms,"
        f" {window['cpu_ms']:.2f} CPU ms, {window.get('errors', 0)} errors"
    )


def measure_closed(workloads: Mapping[str, Workload], plan: Plan) -> dict[str, Any]:
    """Measure every workload with 1, 16 and 128 clients in a closed loop.

    The baseline server and the pipeline without HTTP are measured in the same round, right after the service.

    Returns:
        For `service`, `baseline` and `in_process`: workload -> number of clients -> one window per round.
    """
    measured: dict[str, dict[str, dict[str, list[dict[str, float]]]]] = {SERVICE: {}, BASELINE: {}, IN_PROCESS: {}}

    def keep(kind: str, workload: Workload, clients: int, window: dict[str, float]) -> None:
        measured[kind].setdefault(workload.name, {}).setdefault(str(clients), []).append(window)
        print(f"{kind:10} {workload.name:11} {clients:3} clients: {describe_window(window)}", flush=True)

    with run_service() as service, run_baseline() as baseline:
        for _ in range(plan.rounds):
            for workload in workloads.values():
                with temporary_files(requests_of(workload)) as requests, temporary_files(workload.files) as files:
                    for clients in CLIENTS:
                        options = {"health": clients > 1, "min_requests": plan.min_requests}
                        keep(SERVICE, workload, clients, measure_window(service, requests, clients, plan, **options))
                        if workload.name in {PORTRAITS, FACES} and clients in {1, 16}:
                            job = in_process.Job(files, workload.detect, clients, plan.warm_up_s, plan.seconds)
                            keep(IN_PROCESS, workload, clients, summarize_in_process(in_process.run_job(job)))
                        if workload.name in {PORTRAITS, PHOTOGRAPHS} and clients == 16:
                            keep(BASELINE, workload, clients, measure_window(baseline, requests, clients, plan))
    return measured


def measure_open(workload: Workload, plan: Plan, capacity_per_s: float) -> list[dict[str, float]]:
    """Measure the latency of requests that arrive at random, at several shares of the capacity."""
    windows = []
    longer = Plan(plan.rounds, 3 * plan.seconds, plan.warm_up_s, 0)
    with run_service() as service, temporary_files(requests_of(workload)) as requests:
        measure_window(service, requests, 16, plan)
        for share in OPEN_LOADS:
            rate = share * capacity_per_s
            options = {"rate": rate, "min_requests": plan.min_requests}
            window = measure_window(service, requests, _OPEN_CONNECTIONS, longer, **options)
            print(f"open loop, {rate:.1f} arrivals/s: {describe_window(window)}", flush=True)
            windows.append(window | {"rate": rate, "load": share})
    return windows


def measure_forms(workloads: Mapping[str, Workload], plan: Plan) -> dict[str, dict[str, list[dict[str, float]]]]:
    """Measure the three request forms. Returns workload -> form -> one window per round."""
    measured: dict[str, dict[str, list[dict[str, float]]]] = {}
    with run_service() as service:
        for _ in range(plan.rounds):
            for name in (FACES, LARGE):
                for form, build in FORMS.items():
                    with temporary_files(requests_of(workloads[name], build)) as requests:
                        window = measure_window(service, requests, 16, plan, min_requests=plan.min_requests)
                    print(f"{name} as {form}: {describe_window(window)}", flush=True)
                    measured.setdefault(name, {}).setdefault(form, []).append(window)
    return measured


def measure_detection(workload: Workload, data: Path) -> dict[str, dict[str, int]]:
    """Count the faces that the service and the baseline server find in the photographs, and their false boxes."""
    photographs = [shot for shot in load_photographs(data / "photos") if shot.path.name in workload.names]
    faces = sum(len(photograph.faces) for photograph in photographs)
    counted = {}
    for name, run in ((SERVICE, run_service), (BASELINE, run_baseline)):
        with temporary_files(requests_of(workload)) as requests, run() as server:
            job = Job(server.port, server.pid, requests, 1, warm_up_s=0, seconds=0, keep_bodies=True)
            bodies = load_generator.run_job(job).bodies
        found = false = 0
        for path, photograph in zip(requests, photographs, strict=True):
            boxes = [FaceBox(**face["box"]) for face in json.loads(bodies[path])["faces"]]
            hits, surplus = count_found(photograph, boxes)
            found, false = found + hits, false + surplus
        counted[name] = {"found": found, "false": false, "faces": faces}
        print(f"{name}: {found} of {faces} faces, {false} false boxes", flush=True)
    return counted


def measure_scaling(workload: Workload, plan: Plan) -> dict[str, list[dict[str, float]]]:
    """Measure the throughput of 16 clients on one core and on two, round by round.

    With one core for the service, the load generator has the other core.
    """
    measured: dict[str, list[dict[str, float]]] = {"1": [], "2": []}
    with (
        run_service([0]) as narrow,
        run_service([0, 1]) as wide,
        temporary_files(requests_of(workload)) as requests,
    ):
        for _ in range(plan.rounds):
            for cores, server, generator_cores in (("1", narrow, [1]), ("2", wide, None)):
                options = {"cores": generator_cores, "min_requests": plan.min_requests}
                window = measure_window(server, requests, 16, plan, **options)
                print(f"{cores} core(s): {describe_window(window)}", flush=True)
                measured[cores].append(window)
    return measured


def measure_memory(workload: Workload, plan: Plan) -> list[dict[str, float]]:
    """Measure the resident memory of the service over many requests."""
    with run_service() as service, temporary_files(requests_of(workload)) as requests:
        job = Job(
            service.port,
            service.pid,
            requests,
            clients=16,
            warm_up_s=0,
            seconds=0,
            min_requests=plan.memory_requests,
            memory_interval=min(MEMORY_FIRST, plan.memory_requests // 10),
        )
        measurement = load_generator.run_job(job)
    samples = [{"requests": requests, "rss_mb": rss_kb / 1000} for requests, rss_kb in measurement.rss_samples]
    print(f"memory: {samples[0]['rss_mb']:.1f} MB, {measurement.errors} errors; at the end {samples[-1]}", flush=True)
    return samples


def capacity_of(closed: Mapping[str, Any], workload: str) -> float:
    """Return the throughput of the service with 16 clients, in requests per second."""
    return spread_of(closed[SERVICE][workload]["16"], "per_s").median
