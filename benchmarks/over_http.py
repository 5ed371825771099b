"""The service over HTTP, beside the baseline and beside its own pipeline, round by round."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.domain import FaceBox
from benchmarks import in_process, load
from benchmarks.figures import in_process_window_of, spread_of, window_of
from benchmarks.servers import BASELINE, SERVICE, Server, running
from benchmarks.workloads import FACES, FORMS, LARGE, PHOTOGRAPHS, PORTRAITS, Form, Workload, multipart_request
from tests.support.photographs import count_found, load_photographs

CLIENTS = (1, 16, 128)
# Of the service's throughput with 16 clients: how full it is.
OPEN_LOADS = (0.3, 0.5, 0.7, 0.8, 0.9)
_OPEN_CONNECTIONS = 256
MEMORY_FIRST = 1_000  # requests after which memory is to stay as it is
_PERCENT_REQUESTS = 100  # fewer have no 99th percentile


@dataclass(frozen=True)
class Plan:
    """How long everything takes."""

    rounds: int
    seconds: float
    warm_up_s: float
    memory_requests: int
    photographs: int | None = None

    @classmethod
    def of(cls, quick: bool, rounds: int | None) -> Plan:
        if quick:
            return cls(rounds or 1, 0.5, 0.3, 2_000, photographs=5)
        return cls(rounds or 3, 4.0, 1.5, 50_000)


@contextmanager
def written(files: tuple[bytes, ...]) -> Iterator[list[str]]:
    """The files in a folder that lasts as long as the context, for a process that reads them."""
    with tempfile.TemporaryDirectory(prefix="fer-bench-") as folder:
        paths = [Path(folder, f"{index:04d}") for index in range(len(files))]
        for path, file in zip(paths, files, strict=True):
            path.write_bytes(file)
        yield [str(path) for path in paths]


def requests_of(workload: Workload, form: Form = multipart_request) -> tuple[bytes, ...]:
    """A workload's HTTP requests."""
    return tuple(form(file, workload.detect) for file in workload.files)


def measure_closed(workloads: Mapping[str, Workload], plan: Plan) -> dict[str, Any]:
    """Every workload with 1, 16 and 128 clients; the baseline and the bare pipeline right after, in every round.

    Returns:
        `service`, `baseline` and `in_process`: by workload, then by clients, one window a round.
    """
    measured: dict[str, dict[str, dict[str, list[dict[str, float]]]]] = {SERVICE: {}, BASELINE: {}, "in_process": {}}

    def keep(kind: str, workload: Workload, clients: int, window: dict[str, float]) -> None:
        measured[kind].setdefault(workload.name, {}).setdefault(str(clients), []).append(window)
        print(f"{kind:10} {workload.name:11} {clients:3} clients: {_line(window)}", flush=True)

    with running(SERVICE) as service, running(BASELINE) as baseline:
        for _ in range(plan.rounds):
            for workload in workloads.values():
                with written(requests_of(workload)) as requests, written(workload.files) as files:
                    for clients in CLIENTS:
                        keep(SERVICE, workload, clients, _window(service, requests, clients, plan, health=clients > 1))
                        if workload.name in {PORTRAITS, FACES} and clients in {1, 16}:
                            job = in_process.Job(files, workload.detect, clients, plan.warm_up_s, plan.seconds)
                            keep("in_process", workload, clients, in_process_window_of(in_process.run_job(job)))
                        if workload.name in {PORTRAITS, PHOTOGRAPHS} and clients == 16:
                            keep(BASELINE, workload, clients, _window(baseline, requests, clients, plan))
    return measured


def _window(
    server: Server,
    requests: list[str],
    clients: int,
    plan: Plan,
    rate: float | None = None,
    health: bool = False,
    cores: list[int] | None = None,
) -> dict[str, float]:
    job = load.Job(
        server.port,
        server.pid,
        requests,
        clients,
        rate,
        plan.warm_up_s,
        plan.seconds,
        least=_PERCENT_REQUESTS if plan.rounds > 1 and server.name == SERVICE else 0,
        health=health,
        cores=cores,
    )
    return window_of(load.run_job(job))


def _line(window: Mapping[str, float]) -> str:
    return (
        f"{window['per_s']:.1f}/s, p50 {window['p50_ms']:.1f} ms, p99 {window['p99_ms']:.1f} ms,"
        f" {window['cpu_ms']:.2f} CPU ms, {window.get('errors', 0)} errors"
    )


def measure_open(workload: Workload, plan: Plan, capacity_per_s: float) -> list[dict[str, float]]:
    """Latency while requests arrive by chance, at shares of what the service can do."""
    windows = []
    longer = Plan(plan.rounds, 3 * plan.seconds, plan.warm_up_s, 0)
    with running(SERVICE) as service, written(requests_of(workload)) as requests:
        _window(service, requests, 16, plan)
        for share in OPEN_LOADS:
            rate = share * capacity_per_s
            window = _window(service, requests, _OPEN_CONNECTIONS, longer, rate) | {"rate": rate, "load": share}
            print(f"open loop, {rate:.1f} arrivals/s: {_line(window)}", flush=True)
            windows.append(window)
    return windows


def measure_forms(workloads: Mapping[str, Workload], plan: Plan) -> dict[str, dict[str, list[dict[str, float]]]]:
    """What the three ways to send an image cost, by workload and form."""
    measured: dict[str, dict[str, list[dict[str, float]]]] = {}
    with running(SERVICE) as service:
        for _ in range(plan.rounds):
            for name in (FACES, LARGE):
                for form, build in FORMS.items():
                    with written(requests_of(workloads[name], build)) as requests:
                        window = _window(service, requests, 16, plan)
                    print(f"{name} as {form}: {_line(window)}", flush=True)
                    measured.setdefault(name, {}).setdefault(form, []).append(window)
    return measured


def measure_detection(workload: Workload, data: Path) -> dict[str, dict[str, int]]:
    """Faces that the answers of service and baseline have, against the boxes checked by eye."""
    photographs = [shot for shot in load_photographs(data / "photos") if shot.path.name in workload.names]
    counted = {}
    with written(requests_of(workload)) as requests:
        for name in (SERVICE, BASELINE):
            with running(name) as server:
                job = load.Job(server.port, server.pid, requests, 1, warm_up_s=0, seconds=0, answers=True)
                answers = load.run_job(job).answers
            found = false = 0
            for path, photograph in zip(requests, photographs, strict=True):
                boxes = [FaceBox(**face["box"]) for face in json.loads(answers[path])["faces"]]
                hits, surplus = count_found(photograph, boxes)
                found, false = found + hits, false + surplus
            faces = sum(len(photograph.faces) for photograph in photographs)
            counted[name] = {"found": found, "false": false, "faces": faces}
            print(f"{name}: {found} of {faces} faces, {false} false boxes", flush=True)
    return counted


def measure_scaling(workload: Workload, plan: Plan) -> dict[str, list[dict[str, float]]]:
    """Throughput on one core and on two, 16 clients, round by round. With one, the load generator has the other."""
    measured: dict[str, list[dict[str, float]]] = {"1": [], "2": []}
    with (
        running(SERVICE, cores=[0]) as narrow,
        running(SERVICE, cores=[0, 1]) as wide,
        written(requests_of(workload)) as requests,
    ):
        for _ in range(plan.rounds):
            for cores, server, generator_cores in (("1", narrow, [1]), ("2", wide, None)):
                window = _window(server, requests, 16, plan, cores=generator_cores)
                print(f"{cores} core(s): {_line(window)}", flush=True)
                measured[cores].append(window)
    return measured


def measure_memory(workload: Workload, plan: Plan) -> list[dict[str, float]]:
    """Resident memory while tens of thousands of requests pass, sampled every thousand."""
    with running(SERVICE) as service, written(requests_of(workload)) as requests:
        job = load.Job(
            service.port,
            service.pid,
            requests,
            clients=16,
            warm_up_s=0,
            seconds=0,
            least=plan.memory_requests,
            sample_every=min(MEMORY_FIRST, plan.memory_requests // 10),
        )
        seen = load.run_job(job)
    samples = [{"requests": requests, "rss_mb": rss_kb / 1000} for requests, rss_kb in seen.rss_samples]
    print(f"memory: {samples[0]['rss_mb']:.1f} MB, {seen.errors} errors; then {samples[-1]}", flush=True)
    return samples


def capacity_of(closed: Mapping[str, Any], workload: str) -> float:
    """Throughput of the service with 16 clients."""
    return spread_of(closed[SERVICE][workload]["16"], "per_s").median
