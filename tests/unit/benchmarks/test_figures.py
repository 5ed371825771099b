"""The benchmark's arithmetic, report and load generator. Nothing here is judged by the clock."""

from __future__ import annotations

import asyncio
import json
import os
import re
import threading
from pathlib import Path

import pytest

from benchmarks import load
from benchmarks.asked import PROMISES, judge
from benchmarks.figures import Spread, flatness_of, scaling_of, significant, window_of
from benchmarks.profile import OTHER, shares_of
from benchmarks.report import PLOTS, capacity_per_s, ceiling, place_in_document, sections, write_report
from benchmarks.workloads import FORMS, _portraits

WINDOW = {
    **{"requests": 100, "errors": 0, "per_s": 40.0, "p50_ms": 20.0, "p90_ms": 30.0, "p99_ms": 50.0, "max_ms": 60.0},
    **{"cpu_ms": 22.0, "loop_cpu_ms": 1.0, "server_cores": 1.5, "generator_share": 0.1, "rss_mb": 200.0},
    **{"health_p50_ms": 1.0, "health_max_ms": 9.0, "health_errors": 0, "health_asked": 50},
}
BASELINE = WINDOW | {"per_s": 4.0, "p99_ms": 1000.0}
BARE = WINDOW | {"cpu_ms": 20.0, "p50_ms": 19.0}


def results(**changed):
    """What a run leaves, with two rounds that are alike; a part that is None is left out."""
    file = {"bytes": 9, "width_px": 640, "height_px": 480, "faces": 1}
    file |= {f"{stage}_ms": [1.0, 2.0] for stage in ("decode", "detect", "crop", "classify", "whole")}
    by_clients = {clients: [WINDOW, WINDOW] for clients in ("1", "16", "128")}
    names = ("portraits", "photographs", "faces")
    measured = {
        "machine": {
            **{"cpu": "a CPU", "cores": 2, "memory_gb": 8.0, "system": "Linux 6", "python": "3.11"},
            **{"packages": {"numpy": "2"}, "commit": "abc", "load_before": 0.0},
        },
        "started": "2026-11-21",
        "quick": False,
        "rounds": 2,
        "workloads": dict.fromkeys(names, "files"),
        "stages": {"files": {name: [file] for name in names}, "classify": {"1": [4.0, 4.1], "64": [3.0, 3.1]}},
        "closed": {
            "service": dict.fromkeys(names, by_clients),
            "baseline": {name: {"16": [BASELINE] * 2} for name in ("portraits", "photographs")},
            "in_process": {name: {"1": [BARE] * 2, "16": [BARE] * 2} for name in ("portraits", "faces")},
        },
        "open": [WINDOW | {"rate": 20.0, "load": 0.5}, WINDOW | {"rate": 36.0, "load": 0.9}],
        "detection": {
            "service": {"found": 29, "false": 0, "faces": 29},
            "baseline": {"found": 28, "false": 3, "faces": 29},
        },
        "forms": {"faces": {"multipart": [WINDOW], "raw": [WINDOW]}},
        "scaling": {"1": [WINDOW | {"per_s": 21.0}], "2": [WINDOW]},
        "memory": [{"requests": number * 1000, "rss_mb": 200.0 + number / 50} for number in range(1, 51)],
        "profile": {"portraits": {"decode": 0.1, "detect": 0.9}},
    }
    return {name: part for name, part in (measured | changed).items() if part is not None}


def verdicts(**changed) -> dict[str, bool | None]:
    return {verdict.promise.asked: verdict.met for verdict in judge(results(**changed))}


def only(verdicts: dict[str, bool | None], beginning: str) -> bool | None:
    (met,) = [met for asked, met in verdicts.items() if asked.startswith(beginning)]
    return met


def test_promises_are_judged_by_their_own_limits():
    met = verdicts()
    assert only(met, "CPU of a portrait") is True  # 22 / 20
    assert only(met, "portraits a second") is True  # 40 / 4
    assert only(met, "photographs a second") is False  # 10, and 15 are asked for
    assert only(met, "99th percentile of a photograph") is True  # 50 / 1000
    assert only(met, "latency that the service adds") is True  # 20 - 19
    assert only(met, "faces missed") is True
    assert only(met, "throughput of two cores") is True  # 40 / 1.9 * 2 / 21
    assert len(met) == len(PROMISES)


def test_promise_fails_by_one_error_one_slow_probe_or_one_false_box():
    slow = {clients: [WINDOW | {"errors": 1, "health_max_ms": 51.0}] * 2 for clients in ("1", "16", "128")}
    detection = {"service": {"found": 29, "false": 4}, "baseline": {"found": 28, "false": 3}}
    closed = results()["closed"] | {"service": {"portraits": slow}}
    met = verdicts(closed=closed, detection=detection)
    assert only(met, "errors with 128 clients") is False
    assert only(met, "slowest `/healthz`") is False
    assert only(met, "faces missed") is False


def test_promise_of_many_clients_is_of_one_workload_with_its_own_rounds():
    def served(*ratios):
        many = [WINDOW | {"per_s": ratio * WINDOW["per_s"]} for ratio in ratios]
        return {"1": [WINDOW] * 3, "16": [WINDOW] * 3, "128": many}

    closed = results()["closed"] | {
        "service": {"portraits": served(0.9, 1.0, 1.3), "photographs": served(1.3, 0.9, 1.1), "faces": served(1, 2, 3)}
    }
    (promise,) = [one for one in PROMISES if "128 clients over" in one.asked]
    assert promise.values(results(closed=closed)) == pytest.approx([0.9, 1.0, 1.3])


def test_promise_that_was_not_measured_says_so():
    met = verdicts(scaling=None, memory=None)
    assert only(met, "throughput of two cores") is None
    assert only(met, "resident memory between") is None


def test_spread_shows_the_rounds_behind_the_median():
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert Spread.of([3.0, 1.0, 2.0]).text() == "2.00 (1.00 to 3.00)"
    assert Spread.of([2.0]).text() == "2.00"


@pytest.mark.parametrize(
    ("value", "text"), [(0.0123456, "0.0123"), (1.5, "1.50"), (12.34, "12.3"), (1234.5, "1234"), (0, "0")]
)
def test_significant_keeps_three_digits_without_an_exponent(value, text):
    assert significant(value) == text


def test_scaling_takes_the_generators_share_off_the_two_cores():
    assert scaling_of({"per_s": 10.0}, {"per_s": 18.0, "generator_share": 0.2}) == pytest.approx(2.0)


def test_flatness_looks_at_both_directions_and_only_after_the_first_thousand():
    samples = [(500, 150.0), (1000, 200.0), (2000, 203.0), (3000, 192.0)]
    counted = [{"requests": requests, "rss_mb": rss} for requests, rss in samples]
    assert flatness_of(counted, 1000) == pytest.approx(0.04)


def test_window_counts_processor_time_by_request_and_errors_apart():
    seen = load.Seen(
        seconds=2.0,
        latencies_s=[0.01] * 9 + [0.1],
        statuses={"200": 8, "503": 1, "0": 1},
        server_cpu_s=3.0,
        server_loop_cpu_s=0.5,
        generator_cpu_s=0.2,
        rss_kb=100_000,
    )
    window = window_of(seen)
    assert (window["errors"], window["per_s"]) == (2, 4.0)
    assert (window["cpu_ms"], window["loop_cpu_ms"]) == (pytest.approx(300.0), pytest.approx(50.0))
    assert (window["server_cores"], window["generator_share"]) == (1.5, 0.1)
    assert window["max_ms"] == pytest.approx(100.0)


def test_capacity_leaves_a_share_of_the_cores_free():
    assert capacity_per_s(cpu_ms=20.0, cores=2) == pytest.approx(70.0)


def test_ceiling_is_the_baselines_time_over_that_of_the_mean_file():
    quick, slow = ({"decode_ms": [1.0, 1.0], "classify_ms": [2.0, 2.0]} for _ in range(2))
    slow["decode_ms"] = [3.0, 5.0]  # its median round: 4
    measured = results(stages={"files": {"photographs": [quick, slow]}, "classify": {}})
    assert ceiling(measured, "photographs", ["decode_ms"]) == pytest.approx(22.0 / 2.5)
    assert ceiling(measured, "photographs", ["decode_ms", "classify_ms"]) == pytest.approx(22.0 / 4.5)


def test_profile_gives_a_sample_to_the_innermost_place_that_has_a_name():
    folded = [
        "main (app/__main__.py:1);run (uvicorn/server.py:2);see (app/engine/pipeline.py:3);"
        "decode (app/vision/decode.py:4) 6",
        "main (app/__main__.py:1);run (uvicorn/server.py:2);see (app/engine/pipeline.py:3) 1",
        "main (app/__main__.py:1);run (uvicorn/server.py:2) 2",
        "start (elsewhere.py:1) 1",
        "start (elsewhere.py:1);_worker (concurrent/futures/thread.py:81) 90",
    ]
    assert shares_of(folded) == {"decode": 0.6, "pipeline": 0.1, "uvicorn, sockets": 0.2, OTHER: 0.1}


def test_report_has_every_part_and_plot(tmp_path):
    path = write_report(results(), tmp_path)
    text = path.read_text()
    for name in sections(results()):
        assert f"## {name.capitalize()}" in text
    assert {image.name for image in tmp_path.glob("*.png")} == set(PLOTS)
    assert "| portraits | 16 | 40.0 | 20 | 30 | 50 | 22 |" in text


def test_report_of_a_part_of_a_run_has_that_part(tmp_path):
    measured = results()
    text = write_report({"memory": measured["memory"]}, tmp_path).read_text()
    assert "## Memory" in text
    assert "## Service" not in text


def test_document_gets_its_parts_anew_and_keeps_what_people_wrote():
    document = "# A\n<!-- bench:memory -->\nold\n<!-- /bench -->\nwritten\n<!-- bench:forms -->\n<!-- /bench -->\nend\n"
    placed = place_in_document(document, {"memory": "| 1 |", "forms": "| 2 |"})
    assert placed == document.replace("old", "| 1 |").replace("forms -->\n", "forms -->\n| 2 |\n")
    assert place_in_document(placed, {"memory": "| 1 |", "forms": "| 2 |"}) == placed


def test_document_without_a_place_for_a_part_is_refused():
    with pytest.raises(ValueError, match="memory"):
        place_in_document("# A\n", {"memory": "| 1 |"})


def test_requests_of_every_form_say_how_long_their_body_is():
    (file, *_) = _portraits().files
    for build in FORMS.values():
        head, _, body = build(file, True).partition(b"\r\n\r\n")
        assert int(re.search(rb"Content-Length: (\d+)", head)[1]) == len(body)
        assert head.startswith(b"POST /predict HTTP/1.1")
        assert build(file, False).startswith(b"POST /predict?detect=false HTTP/1.1")


class Stand:
    """A server that answers as it is told, and counts."""

    def __init__(self, hold_first_s: float = 0.0, statuses: tuple[int, ...] = (200,)) -> None:
        self.asked = 0
        self._hold_first_s = hold_first_s
        self._statuses = statuses

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self.asked += 1
                number = self.asked
                if number == 1:
                    await asyncio.sleep(self._hold_first_s)
                status = self._statuses[(number - 1) % len(self._statuses)]
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client has gone, or the test is over
        finally:
            writer.close()


def measured(stand: Stand, **job) -> load.Seen:
    """What the load generator sees of a server in this process."""

    async def scenario() -> load.Seen:
        server = await asyncio.start_server(stand.answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        asked = load.Job(port, os.getpid(), **({"warm_up_s": 0, "seconds": 0} | job))
        seen = await load.measure(asked, [b"GET /a HTTP/1.1\r\n\r\n", b"GET /b HTTP/1.1\r\n\r\n"])
        server.close()
        return seen

    return asyncio.run(scenario())


def test_closed_loop_measures_whole_cycles_and_tells_statuses_apart():
    stand = Stand(statuses=(200, 200, 503))
    seen = measured(stand, requests=["a", "b"], clients=3, least=21)
    assert stand.asked >= 4 * 3 + 22  # the warm-up before
    assert len(seen.latencies_s) == 22  # the first whole cycle of two from 21 on
    assert sum(seen.statuses.values()) == 22
    assert 6 <= seen.errors <= 8
    assert seen.seconds > 0
    assert seen.rss_kb > 0


def test_closed_loop_counts_a_server_that_is_gone_as_errors():
    async def scenario() -> load.Seen:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        job = load.Job(port, os.getpid(), ["a"], clients=1, warm_up_s=0, seconds=0, least=5)
        seen = await load.measure(job, [b"GET /a HTTP/1.1\r\n\r\n"])
        server.close()
        return seen

    seen = asyncio.run(scenario())
    assert (seen.good, seen.errors) == (0, 5)


def test_open_loop_charges_a_stall_to_all_who_waited_for_it():
    # One connection, held for half a second, while fifty requests a second arrive: most of those that were due
    # meanwhile waited longer than a server that answers at once would let them.
    seen = measured(Stand(hold_first_s=0.5), requests=["a", "b"], clients=1, rate=50.0, least=20)
    assert len(seen.latencies_s) == 20
    assert sum(latency > 0.1 for latency in seen.latencies_s) >= 5


def test_generator_as_a_process_of_its_own_writes_what_it_saw(tmp_path):
    file = Path(tmp_path, "request")
    file.write_bytes(b"GET /a HTTP/1.1\r\n\r\n")
    stand, started, over = Stand(), threading.Event(), threading.Event()
    port = []

    async def serve() -> None:
        server = await asyncio.start_server(stand.answer, "127.0.0.1", 0)
        port.append(server.sockets[0].getsockname()[1])
        started.set()
        while not over.is_set():
            await asyncio.sleep(0.02)
        server.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert started.wait(30)
        job = load.Job(port[0], os.getpid(), [str(file)], clients=2, warm_up_s=0, seconds=0, least=10, answers=True)
        seen = load.run_job(job)
    finally:
        over.set()
        thread.join(30)
    assert (seen.good, seen.errors) == (10, 0)
    assert json.loads(seen.answers[str(file)]) == {}
