"""Checks of the queue under overload: small requests beside large ones, and clients that close their connection."""

from __future__ import annotations

import asyncio
import itertools

from stress.checks import Check
from stress.client import Client, closed_loop, open_loop, percentile
from stress.service_process import ServiceProcess
from stress.workloads import Workload

# The event loop reads the end of sixty connections one after the other. Until then their requests hold permits.
_NOTICED_WITHIN_S = 0.1


async def check_fairness(
    service: ServiceProcess, small: Workload, large: Workload, seconds: float
) -> tuple[list[Check], dict[str, object]]:
    """Send small requests while large ones queue."""
    large_client, small_client = Client(service.port), Client(service.port)
    small_requests, large_requests = itertools.repeat(small.request), itertools.repeat(large.request)
    small_alone = await closed_loop(small_client, small_requests, 1, seconds / 2)
    large_alone = await closed_loop(large_client, large_requests, 1, seconds / 2)
    large_alone_s = percentile([answer.seconds for answer in large_alone], 0.5)
    large_queued, small_beside = await asyncio.gather(
        open_loop(large_client, large_requests, 3 * service.cores / large_alone_s, seconds),
        closed_loop(small_client, small_requests, 1, seconds),
    )
    large_client.close()
    small_client.close()
    answered = [answer.seconds for answer in large_queued if answer.status == 200]
    small_s, large_s = percentile([answer.seconds for answer in small_beside], 0.95), percentile(answered, 0.5)
    figures = {
        "crop_alone_p50_s": percentile([answer.seconds for answer in small_alone], 0.5),
        "crop_beside_p95_s": small_s,
        "photograph_alone_p50_s": large_alone_s,
        "photograph_queued_p50_s": large_s,
    }
    check = Check(
        "small requests do not wait for large ones",
        f"{len(small_beside)} {small.name} beside {len(large_queued)} {large.name} at three times the capacity",
        f"{small.name}: 95th percentile {small_s * 1000:.1f} ms; {large.name}: median {large_alone_s * 1000:.1f} ms"
        f" alone, {large_s * 1000:.1f} ms in the queue",
    )
    check.expect(all(answer.status == 200 for answer in small_beside), "a small request was refused")
    # All threads may be busy with large requests, and each may have one more in progress.
    check.expect(
        small_s <= 3 * large_alone_s, f"small requests waited as long as {small_s / large_alone_s:.1f} large ones take"
    )
    check.expect(large_s >= 3 * large_alone_s or not answered, "the large requests did not queue")
    return [check], {"fairness": figures}


async def check_abandoned_requests(
    service: ServiceProcess, workload: Workload, count: int
) -> tuple[list[Check], dict[str, object]]:
    """Close connections while their requests wait, and send one more request."""
    client = Client(service.port)
    names = {
        "finished": 'fer_stage_duration_seconds_count{stage="decode"}',
        "dropped": 'fer_requests_total{route="/predict",status="499"}',
        "refused": 'fer_rejections_total{reason="overloaded"}',
    }
    await asyncio.sleep(1)  # until the service has finished the requests of the previous part
    before = {name: service.metric(metric) for name, metric in names.items()}
    await asyncio.gather(*(client.abandon(workload.request, after_s=0.1) for _ in range(count)))
    await asyncio.sleep(_NOTICED_WITHIN_S)
    answer = await client.send(workload.request)
    client.close()
    counts = {name: service.metric(metric) - before[name] for name, metric in names.items()}
    counts["finished"] -= 1  # the last request was not abandoned
    check = Check(
        "abandoned requests are dropped",
        f"{count} {workload.name} sent at once, connections closed after 100 ms",
        f"{counts['finished']:.0f} finished, {counts['dropped']:.0f} dropped, {counts['refused']:.0f} refused;"
        f" the next request took {answer.seconds * 1000:.1f} ms",
    )
    check.expect(answer.status == 200, f"the next request was answered with {answer.status}")
    check.expect(counts["finished"] <= count / 5, f"{counts['finished']:.0f} were processed to the end")
    return [check], {"abandoned": counts}
