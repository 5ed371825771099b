"""Checks of load management: interactive requests beside bulk work, and callers that retry every refusal at once."""

from __future__ import annotations

import asyncio
import itertools

from stress.checks import Check
from stress.client import Client, closed_loop, open_loop, percentile
from stress.goodput import OVERLOAD_FACTOR, Peak, measure_peak
from stress.service_process import ServiceProcess
from stress.workloads import Workload

# Largest 95th percentile of interactive requests beside bulk work: this factor times the 95th percentile of an idle
# service plus the time of one request, which may be running in every vision thread.
MAX_INTERACTIVE_FACTOR = 1.5
# Smallest share of the peak that bulk work keeps beside one interactive client.
MIN_BULK_SHARE = 0.1
_RETRYING_CALLERS = 200
_RECOVERED_WITHIN_S = 1.0
_MAX_SLOWDOWN = 2.0


async def check_priority(
    service: ServiceProcess, workload: Workload, seconds: float
) -> tuple[list[Check], dict[str, object]]:
    """Send bulk work at ten times the peak load beside one interactive client."""
    client, bulk_client = Client(service.port), Client(service.port)
    interactive = itertools.repeat(workload.request)
    bulk = itertools.repeat(workload.request.replace(b"\r\n", b"\r\nPriority: u=7\r\n", 1))
    peak = await measure_peak(client, service.process.pid, workload.request, seconds / 2)
    alone = [answer.seconds for answer in await closed_loop(client, interactive, 1, seconds / 2)]
    beside, bulk_answers = await asyncio.gather(
        closed_loop(client, interactive, 1, seconds),
        open_loop(bulk_client, bulk, OVERLOAD_FACTOR * peak.per_s, seconds),
    )
    client.close()
    bulk_client.close()
    alone_p95_s, service_s = percentile(alone, 0.95), percentile(alone, 0.5)
    beside_p95_s = percentile([answer.seconds for answer in beside], 0.95)
    answered = sum(answer.status == 200 for answer in bulk_answers)
    bulk_share = answered / seconds / peak.per_s
    longest_s = MAX_INTERACTIVE_FACTOR * (alone_p95_s + service_s)
    check = Check(
        f"interactive requests do not wait for bulk work ({workload.name})",
        f"{len(beside)} interactive requests beside {len(bulk_answers)} bulk requests",
        f"95th percentile {_ms(alone_p95_s)} alone, {_ms(beside_p95_s)} beside bulk work (limit {_ms(longest_s)});"
        f" bulk work keeps {bulk_share:.0%} of the peak",
    )
    check.expect(all(answer.status == 200 for answer in beside), "an interactive request was refused")
    check.expect(beside_p95_s <= longest_s, f"the 95th percentile is {beside_p95_s / longest_s:.1f} times the limit")
    check.expect(bulk_share >= MIN_BULK_SHARE, "bulk work was starved")
    statuses = {answer.status for answer in bulk_answers} - {200, 503}
    check.expect(not statuses, f"bulk requests had the statuses {sorted(statuses)}")
    figures = {"alone_p95_s": alone_p95_s, "beside_p95_s": beside_p95_s, "bulk_share": bulk_share}
    return [check], {f"priority_{workload.name}": figures}


async def check_retry_storm(
    service: ServiceProcess, workload: Workload, seconds: float
) -> tuple[list[Check], dict[str, object]]:
    """Let every refused caller retry at once, and measure the latency after the storm."""
    client = Client(service.port)
    requests = itertools.repeat(workload.request)
    peak: Peak = await measure_peak(client, service.process.pid, workload.request, seconds / 2)
    before = await open_loop(client, requests, peak.per_s / 2, seconds / 2)
    storm = await closed_loop(client, requests, _RETRYING_CALLERS, seconds)
    after = await open_loop(client, requests, peak.per_s / 2, _RECOVERED_WITHIN_S + seconds / 2)
    client.close()
    first = min(answer.sent for answer in after)
    recovered = [answer for answer in after if answer.sent - first >= _RECOVERED_WITHIN_S]
    before_s = percentile([answer.seconds for answer in before], 0.95)
    recovered_s = percentile([answer.seconds for answer in recovered], 0.95)
    goodput = sum(answer.status == 200 for answer in storm) / seconds
    expired = sum(answer.status == 504 for answer in storm)
    check = Check(
        f"a retry storm ends within a second ({workload.name})",
        f"{len(storm)} requests of {_RETRYING_CALLERS} callers that retry at once",
        f"{goodput:.1f}/s of {peak.per_s:.1f}/s answered, {expired} expired; 95th percentile {_ms(before_s)} before,"
        f" {_ms(recovered_s)} after",
    )
    check.expect(all(answer.status == 200 for answer in recovered), "a request after the storm was not answered")
    check.expect(recovered_s <= _MAX_SLOWDOWN * before_s, f"{recovered_s / before_s:.1f} times the latency of before")
    # The refusals take the time of the requests that were admitted before the storm, so some of these expire.
    check.expect({answer.status for answer in storm} <= {200, 503, 504}, "an answer had another status")
    figures = {"goodput_per_s": goodput, "before_p95_s": before_s, "recovered_p95_s": recovered_s}
    return [check], {f"retry_storm_{workload.name}": figures}


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
