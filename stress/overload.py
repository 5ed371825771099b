"""Ten times more than can be answered: `python -m stress.overload`.

One core is the callers', the others are the service's, so that callers take nothing from it. Peak is what four callers
get who each wait for their answer. Then requests come at ten times that rate, whatever becomes of them; then at half of
it, to see when all is as before. Last, crops come beside more photographs of twelve megapixels than can be answered,
and callers hang up on theirs.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import itertools
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from stress.caller import Answer, Callers, closed_loop, open_loop, percentile, post
from stress.findings import RUNS, Finding, conclude
from stress.process import ServiceProcess, running, split_cores

PHOTO = Path("tests/photos/astronaut.jpg")
DEADLINE_S = 5.0
TIMES = 10
GOODPUT_SHARE = 0.9
REFUSED_WITHIN_S = 0.05
RECOVERED_WITHIN_S = 1.0
# What the slowest twentieth may take after the overload, in what it took before it: more would be a queue.
SLOWER_AFTERWARDS = 2.0
# So few that none of them is refused: one with the model, one at a thread, two that wait for it.
_WORKERS = 4
# The service reads of sixty closed connections one after the other; who asks in the same instant may still be refused.
_NOTICED_WITHIN_S = 0.1


@dataclass(frozen=True)
class Workload:
    """A request that is sent again and again."""

    name: str
    request: bytes


def workloads() -> dict[str, Workload]:
    """Portraits, crops and photographs of twelve megapixels."""
    face = Image.open(PHOTO).convert("L").crop((170, 50, 280, 160)).resize((48, 48))
    crop, photograph = io.BytesIO(), io.BytesIO()
    face.save(crop, "PNG")
    Image.open(PHOTO).resize((4000, 3000)).save(photograph, "JPEG", quality=90)
    return {
        "portraits": Workload("portraits", post("/predict", PHOTO.read_bytes())),
        "crops": Workload("crops", post("/predict?detect=false", crop.getvalue(), "image/png")),
        "photographs": Workload("photographs", post("/predict", photograph.getvalue())),
    }


async def overload(service: ServiceProcess, workload: Workload, seconds: float) -> tuple[list[Finding], dict]:
    """Peak, ten times peak, and what comes after."""
    callers = Callers(service.port)
    requests = itertools.repeat(workload.request)
    await closed_loop(callers, requests, _WORKERS, min(2.0, seconds))  # warms up, and the service learns the cost
    at_peak = await closed_loop(callers, requests, _WORKERS, seconds)
    peak = _good(at_peak) / _span(at_peak)
    before = await open_loop(callers, requests, peak / 2, seconds)
    flood = await open_loop(callers, requests, peak * TIMES, seconds)
    after = await open_loop(callers, requests, peak / 2, RECOVERED_WITHIN_S + seconds)
    callers.close()

    began = min(answer.sent for answer in flood)
    in_time = [answer for answer in flood if answer.sent + answer.seconds - began <= seconds]
    goodput = _good(in_time) / seconds
    admitted = [answer.seconds for answer in flood if answer.status == 200]
    refused = [answer for answer in flood if answer.status == 503]
    first = min(answer.sent for answer in after)
    late = [answer for answer in after if answer.sent - first >= RECOVERED_WITHIN_S]
    usual_s = percentile([answer.seconds for answer in before], 0.95)
    afterwards_s = percentile([answer.seconds for answer in late], 0.95)
    refused_s = [answer.seconds for answer in refused]
    offered = len(flood) / (max(answer.sent for answer in flood) - began)
    figures = {
        "peak_per_s": peak,
        "offered_per_s": offered,
        "goodput_per_s": goodput,
        "admitted_max_s": max(admitted, default=0.0),
        "refused_p50_s": percentile(refused_s, 0.5),
        "refused_p99_s": percentile(refused_s, 0.99),
        "refused_max_s": max(refused_s, default=0.0),
        "usual_p95_s": usual_s,
        "afterwards_p95_s": afterwards_s,
        "requests": len(flood),
    }

    tried = f"{len(flood)} {workload.name} at {offered:.0f} a second, {offered / peak:.1f} times peak"
    kept = Finding(f"goodput under overload ({workload.name})", tried)
    kept.seen = f"{goodput:.1f} answered a second, peak {peak:.1f} ({goodput / peak:.0%})"
    kept.expect(goodput >= GOODPUT_SHARE * peak, f"goodput is {goodput / peak:.0%} of peak")
    kept.expect(offered >= 0.8 * TIMES * peak, f"the callers managed only {offered / peak:.1f} times peak")
    refusals = Finding(f"refusals are quick and say when to come again ({workload.name})", f"{len(refused)} refusals")
    refusals.seen = (
        f"median {_ms(figures['refused_p50_s'])}, 99 % {_ms(figures['refused_p99_s'])},"
        f" slowest {_ms(figures['refused_max_s'])}"
    )
    refusals.expect(figures["refused_p99_s"] <= REFUSED_WITHIN_S, "one in a hundred took more than 50 ms")
    refusals.expect(
        all(answer.json()["code"] == "overloaded" and b"retry-after: " in answer.headers for answer in refused),
        "a 503 without the code or without Retry-After",
    )
    promised = Finding(f"who is admitted is answered in time ({workload.name})", f"{len(admitted)} admitted")
    promised.seen = f"slowest {max(admitted, default=0.0):.2f} s, deadline {DEADLINE_S:g} s"
    others = [answer.status for answer in flood if answer.status not in {200, 503}]
    promised.expect(not others, f"{len(others)} other answers: {sorted(set(others))}")
    promised.expect(max(admitted, default=0.0) <= DEADLINE_S, "one took longer than the deadline")
    recovered = Finding(f"normal a second after ({workload.name})", f"{len(late)} requests at half of peak")
    recovered.seen = f"95 %: {_ms(usual_s)} before, {_ms(afterwards_s)} from one second after"
    recovered.expect(
        all(answer.status == 200 for answer in late),
        f"{sum(answer.status != 200 for answer in late)} were not answered with 200",
    )
    recovered.expect(afterwards_s <= SLOWER_AFTERWARDS * usual_s, f"{afterwards_s / usual_s:.1f} times as slow")
    return [kept, refusals, promised, recovered], {workload.name: figures}


async def fairness(
    service: ServiceProcess, small: Workload, large: Workload, seconds: float
) -> tuple[list[Finding], dict]:
    """Small requests while large ones queue."""
    callers, others = Callers(service.port), Callers(service.port)
    requests = itertools.repeat(large.request)
    alone = await closed_loop(others, itertools.repeat(small.request), 1, seconds / 2)
    one = await closed_loop(callers, requests, 1, seconds / 2)
    one_s = percentile([answer.seconds for answer in one], 0.5)
    flood, beside = await asyncio.gather(
        open_loop(callers, requests, 3 * service.cores / one_s, seconds),
        closed_loop(others, itertools.repeat(small.request), 1, seconds),
    )
    callers.close()
    others.close()
    answered = [answer.seconds for answer in flood if answer.status == 200]
    small_s, large_s = percentile([answer.seconds for answer in beside], 0.95), percentile(answered, 0.5)
    figures = {
        "crop_alone_p50_s": percentile([answer.seconds for answer in alone], 0.5),
        "crop_beside_p95_s": small_s,
        "photograph_alone_p50_s": one_s,
        "photograph_queued_p50_s": large_s,
    }
    fair = Finding(
        "small requests do not wait behind large ones",
        f"{len(beside)} {small.name} beside {len(flood)} {large.name} at three times what is possible",
    )
    fair.seen = (
        f"{small.name} 95 % {_ms(small_s)}; {large.name} alone {_ms(one_s)}, in the queue {_ms(large_s)} (medians)"
    )
    fair.expect(all(answer.status == 200 for answer in beside), "a small one was refused")
    # It may find every thread busy with a photograph, and one more in the hand: not the queue.
    fair.expect(small_s <= 3 * one_s, f"small ones waited for {small_s / one_s:.1f} photographs")
    fair.expect(large_s >= 3 * one_s or not answered, "the photographs did not queue: nothing was tried")
    return [fair], {"fairness": figures}


async def departures(service: ServiceProcess, workload: Workload, count: int) -> tuple[list[Finding], dict]:
    """Callers who hang up while their requests wait."""
    callers = Callers(service.port)
    await asyncio.sleep(1)
    decoded = service.metric('fer_stage_duration_seconds_count{stage="decode"}')
    left = service.metric('fer_requests_total{route="/predict",status="499"}')
    refused = service.metric('fer_rejections_total{reason="overloaded"}')
    await asyncio.gather(*(callers.abandon(workload.request, after_s=0.1) for _ in range(count)))
    await asyncio.sleep(_NOTICED_WITHIN_S)
    answer = await callers.ask(workload.request)
    callers.close()
    decoded = service.metric('fer_stage_duration_seconds_count{stage="decode"}') - decoded - 1
    left = service.metric('fer_requests_total{route="/predict",status="499"}') - left
    refused = service.metric('fer_rejections_total{reason="overloaded"}') - refused
    gone = Finding("clients that left cost nothing more", f"{count} {workload.name} sent at once and hung up on")
    gone.seen = f"{decoded:.0f} finished, {left:.0f} dropped, {refused:.0f} refused; the next one {_ms(answer.seconds)}"
    gone.expect(answer.status == 200, f"the next caller got {answer.status}")
    gone.expect(decoded <= count / 5, f"{decoded:.0f} were worked on to their end")
    return [gone], {"departures": {"finished": decoded, "dropped": left, "refused": refused}}


def _good(answers: list[Answer]) -> int:
    return sum(answer.status == 200 for answer in answers)


def _span(answers: list[Answer]) -> float:
    return max(answer.sent + answer.seconds for answer in answers) - min(answer.sent for answer in answers)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def main() -> int:
    """Prints and keeps the findings; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="of each part")
    parser.add_argument("--workloads", nargs="*", default=["portraits", "photographs"])
    arguments = parser.parse_args()
    kinds = workloads()
    ours, theirs = split_cores()
    os.sched_setaffinity(0, theirs)
    findings, figures = [], {}
    with running(RUNS / "overload.log", ours, FER_DEADLINE_MS=str(int(DEADLINE_S * 1000))) as service:
        parts = [overload(service, kinds[name], arguments.seconds) for name in arguments.workloads]
        parts.append(fairness(service, kinds["crops"], kinds["photographs"], arguments.seconds))
        parts.append(departures(service, kinds["photographs"], 60))
        for part in parts:
            found, numbers = asyncio.run(part)
            findings += found
            figures |= numbers
    return conclude("overload", findings, figures=figures, seconds=arguments.seconds, cores=len(ours))


if __name__ == "__main__":
    sys.exit(main())
