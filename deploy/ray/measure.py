"""Images per second of the Ray Data job with one and two workers: `python -m deploy.ray.measure`. Prints a table.

The images are crops of the public-domain portrait, about 400x400 pixels. The local cluster has two nodes. The times
include the start of the workers and the loading of the model. The processor time is that of all processes of the job
and of the cluster while the job runs; it depends less on other work of the machine. It needs Linux.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import cv2
import pyarrow.parquet as pq
import ray
from ray.cluster_utils import Cluster

from app.config import load_settings
from app.domain import PredictOptions
from deploy.ray import job

PORTRAIT = Path("tests/photos/astronaut.jpg")


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000, help="number of images (default: %(default)s)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], metavar="N", help="rows (default: 1 2)")
    args = parser.parse_args()
    count = args.images
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    with tempfile.TemporaryDirectory() as name:
        photos = Path(name) / "photos"
        photos.mkdir()
        portrait = cv2.imread(str(PORTRAIT))
        for index in range(count):
            cv2.imwrite(str(photos / f"{index}.jpg"), portrait[: 400 + index % 100, : 400 + index % 90])
        print("| workers | images | rows | seconds | images per second | processor seconds |")
        print("| --- | --- | --- | --- | --- | --- |")
        for row, workers in enumerate(args.workers):
            print(_measure(photos, Path(name) / f"faces-{row}", workers), flush=True)
    return 0


def _measure(photos: Path, output: Path, workers: int) -> str:
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    nodes.add_node(num_cpus=2)
    ray.init(address=nodes.address, log_to_driver=False)
    try:
        started, processor_s = time.perf_counter(), _processor_s()
        settings, options = load_settings(os.environ), PredictOptions()
        count = job.run(str(photos), str(output), settings, options, workers, batch_size=16)
        seconds, processor_s = time.perf_counter() - started, _processor_s() - processor_s
    finally:
        ray.shutdown()
        nodes.shutdown()
    rows = sum(pq.read_metadata(file).num_rows for file in output.glob("*.parquet"))
    return f"| {workers} | {count} | {rows} | {seconds:.0f} | {count / seconds:.1f} | {processor_s:.0f} |"


def _processor_s() -> float:
    """Return the processor time of this process and of its descendants, with those that have ended."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # the process has ended
            continue
        parents[int(entry.name)], ticks[int(entry.name)] = int(fields[1]), sum(map(int, fields[11:15]))
    own = {os.getpid()}
    while grown := {pid for pid, parent in parents.items() if parent in own} - own:
        own |= grown
    return sum(ticks.get(pid, 0) for pid in own) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
