"""Ten times more requests than the service can answer: `python -m stress.overload`.

The load generator has one core and the service has the others, so that they do not compete. The peak is the throughput
of four clients that each wait for their answer. Then requests arrive at ten times that rate, and after that at half of
it, to measure how soon the latency is normal again. The other parts send face crops beside more photographs of twelve
megapixels than the service can answer, interactive requests beside bulk work, retries at once after each refusal, and
close connections before the response.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys

from benchmarks.machine import cpu_kind
from stress.checks import RUNS, Check, conclude
from stress.client import Answer, Client, open_loop, percentile
from stress.fairness import check_abandoned_requests, check_fairness
from stress.goodput import GOODPUT_FLOORS, OVERLOAD_FACTOR, Overload, measure_overload, measure_peak
from stress.priority import check_priority, check_retry_storm
from stress.service_process import ServiceProcess, load_generator_on, run_service_process, split_cores
from stress.workloads import CROPS, PHOTOGRAPHS, PORTRAITS, Workload, load_workloads

DEADLINE_S = 5.0
REFUSED_WITHIN_S = 0.05
RECOVERED_WITHIN_S = 1.0
# Largest 95th percentile of the latency after the overload, relative to before it. A queue would make it larger.
MAX_SLOWDOWN = 2.0


async def check_overload(
    service: ServiceProcess, workload: Workload, seconds: float
) -> tuple[list[Check], dict[str, object]]:
    """Measure the peak, the overload, and the latency before and after it."""
    client = Client(service.port)
    requests = itertools.repeat(workload.request)
    peak = await measure_peak(client, service.process.pid, workload.request, seconds)
    before = await open_loop(client, requests, peak.per_s / 2, seconds)
    overload = await measure_overload(client, service.process.pid, workload.request, peak, seconds)
    after = await open_loop(client, requests, peak.per_s / 2, RECOVERED_WITHIN_S + seconds)
    client.close()
    first = min(answer.sent for answer in after)
    recovered = [answer for answer in after if answer.sent - first >= RECOVERED_WITHIN_S]
    checks = [
        check_goodput(workload.name, overload),
        check_refusals(workload.name, overload),
        check_admitted(workload.name, overload),
        check_recovery(workload.name, before, recovered),
    ]
    latencies = {"before_p95_s": _p95(before), "recovered_p95_s": _p95(recovered)}
    return checks, {workload.name: overload.figures() | latencies}


def check_goodput(name: str, overload: Overload) -> Check:
    """Compare the goodput with the floor of this kind of machine."""
    kind = cpu_kind()
    floor = GOODPUT_FLOORS[kind][name]
    offered, peak, goodput = overload.offered_per_s, overload.peak.per_s, overload.goodput_per_s
    share = goodput / peak
    check = Check(
        f"goodput under overload ({name})",
        f"{len(overload.answers)} {name} at {offered:.0f}/s, {offered / peak:.1f} times the peak",
        f"{goodput:.1f}/s answered, peak {peak:.1f}/s ({share:.0%}; floor of a machine with {kind}: {floor:.0%})",
    )
    check.expect(share >= floor, f"the goodput is {share:.0%} of the peak")
    check.expect(offered >= 0.8 * OVERLOAD_FACTOR * peak, f"the load generator only sent {offered / peak:.1f} times")
    return check


def check_refusals(name: str, overload: Overload) -> Check:
    """Check the latency and the content of the refusals."""
    figures, refusals = overload.figures(), overload.refusals
    check = Check(
        f"refusals are fast and carry `Retry-After` ({name})",
        f"{len(refusals)} refusals",
        f"median {_ms(figures['refused_p50_s'])}, 99th percentile {_ms(figures['refused_p99_s'])},"
        f" slowest {_ms(figures['refused_max_s'])}, {overload.refusal_cpu_ms:.2f} ms of CPU time each",
    )
    check.expect(figures["refused_p99_s"] <= REFUSED_WITHIN_S, "the 99th percentile is above 50 ms")
    check.expect(
        all(answer.json()["code"] == "overloaded" and "retry-after" in answer.headers for answer in refusals),
        "a 503 has another code or no Retry-After",
    )
    return check


def check_admitted(name: str, overload: Overload) -> Check:
    """Check that every admitted request is answered within the deadline."""
    slowest, others = max(overload.admitted_s, default=0.0), overload.other_statuses
    check = Check(
        f"admitted requests are answered within the deadline ({name})",
        f"{len(overload.admitted_s)} admitted requests",
        f"slowest {slowest:.2f} s, deadline {DEADLINE_S:g} s",
    )
    check.expect(not others, f"{len(others)} answers with another status: {sorted(set(others))}")
    check.expect(slowest <= DEADLINE_S, "one took longer than the deadline")
    return check


def check_recovery(name: str, before: list[Answer], recovered: list[Answer]) -> Check:
    """Check that the latency is normal one second after the overload."""
    before_s, recovered_s = _p95(before), _p95(recovered)
    check = Check(
        f"latency is normal one second after the overload ({name})",
        f"{len(recovered)} requests at half of the peak",
        f"95th percentile: {_ms(before_s)} before, {_ms(recovered_s)} after",
    )
    failed = sum(answer.status != 200 for answer in recovered)
    check.expect(failed == 0, f"{failed} requests were not answered with 200")
    check.expect(recovered_s <= MAX_SLOWDOWN * before_s, f"{recovered_s / before_s:.1f} times the latency of before")
    return check


def _p95(answers: list[Answer]) -> float:
    return percentile([answer.seconds for answer in answers], 0.95)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def main() -> int:
    """Print and store the checks. Return 1 if a guarantee was violated."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10, help="length of each part (default: %(default)s)")
    parser.add_argument("--workloads", nargs="*", default=[PORTRAITS, PHOTOGRAPHS], choices=[PORTRAITS, PHOTOGRAPHS])
    arguments = parser.parse_args()
    workloads = load_workloads()
    service_cores, generator_cores = split_cores()
    checks: list[Check] = []
    figures: dict[str, object] = {}
    deadline = str(int(DEADLINE_S * 1000))
    with (
        load_generator_on(generator_cores),
        run_service_process(RUNS / "overload.log", service_cores, FER_DEADLINE_MS=deadline) as service,
    ):
        parts = [check_overload(service, workloads[name], arguments.seconds) for name in arguments.workloads]
        parts.append(check_fairness(service, workloads[CROPS], workloads[PHOTOGRAPHS], arguments.seconds))
        parts += [check_priority(service, workloads[name], arguments.seconds) for name in arguments.workloads]
        parts.append(check_retry_storm(service, workloads[PORTRAITS], arguments.seconds))
        parts.append(check_abandoned_requests(service, workloads[PHOTOGRAPHS], 60))
        for part in parts:
            part_checks, part_figures = asyncio.run(part)
            checks += part_checks
            figures |= part_figures
    return conclude("overload", checks, figures=figures, seconds=arguments.seconds, cores=len(service_cores))


if __name__ == "__main__":
    sys.exit(main())
