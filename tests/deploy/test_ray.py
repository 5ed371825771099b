"""The Ray Data job on a local cluster of two nodes: every image once, also after a killed worker, and resumed runs.

`make ray-test` runs the tests in an environment with requirements/ray.txt.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import cv2
import pytest

ray = pytest.importorskip("ray", reason="Ray: see requirements/ray.txt")

import fsspec  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402

from app.config import Settings  # noqa: E402
from app.domain import PredictOptions  # noqa: E402
from deploy.ray import job  # noqa: E402
from tests.support.images import ASTRONAUT  # noqa: E402

IMAGES = 240
SETTINGS, OPTIONS = Settings(device="cpu"), PredictOptions()


@pytest.fixture(scope="module")
def cluster():
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    nodes.add_node(num_cpus=2)
    ray.init(address=nodes.address, log_to_driver=False)
    assert len(ray.nodes()) == 2
    yield nodes
    ray.shutdown()
    nodes.shutdown()


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Folder with crops of the portrait, one file that is no image, and one that is no image by its name."""
    folder = tmp_path_factory.mktemp("photos")
    portrait = cv2.imread(str(ASTRONAUT))
    for index in range(IMAGES - 1):
        (folder / f"{index % 7}").mkdir(exist_ok=True)
        cv2.imwrite(str(folder / f"{index % 7}" / f"{index}.jpg"), portrait[: 400 + index % 100, : 400 + index % 90])
    (folder / "broken.jpg").write_bytes(b"no image")
    (folder / "notes.txt").write_text("no image")
    return folder


def rows_of(output: Path) -> list[dict]:
    return [row for file in sorted(output.glob("*.parquet")) for row in pq.read_table(file).to_pylist()]


def paths_of(photos: Path) -> list[str]:
    return sorted(str(path) for path in photos.rglob("*.jpg"))


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def pipeline_processes() -> list[int]:
    """Return the Ray workers with the pipeline: grandchildren of this process, whose children are the nodes."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                is_worker = b"ray::" in (command := (entry / "cmdline").read_bytes()) and b"MapWorker" in command
                if is_worker and parent_of(parent_of(int(entry.name))) == os.getpid():
                    found.append(int(entry.name))
            except OSError:  # the process has ended
                continue
    return found


def test_every_image_has_its_rows_once(cluster, photos, tmp_path):
    assert job.run(str(photos), str(tmp_path), SETTINGS, OPTIONS, workers=2, batch_size=16) == IMAGES
    rows = rows_of(tmp_path)
    assert sorted(row["path"] for row in rows if row["face"] in {None, 1}) == paths_of(photos)
    assert {row["emotion"] for row in rows if row["face"] == 1} == {"happy"}
    (broken,) = [row for row in rows if row["error"]]
    assert broken["path"] == str(photos / "broken.jpg")


def test_killed_worker_loses_and_doubles_nothing(cluster, photos, tmp_path):
    killed: list[int] = []

    def kill_one() -> None:
        deadline = time.monotonic() + 120
        while not killed and time.monotonic() < deadline:
            for pid in pipeline_processes()[:1]:
                time.sleep(1)  # it works by now
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
            time.sleep(0.1)

    killer = threading.Thread(target=kill_one)
    killer.start()
    assert job.run(str(photos), str(tmp_path), SETTINGS, OPTIONS, workers=2, batch_size=4) == IMAGES
    killer.join()
    assert killed
    assert sorted(row["path"] for row in rows_of(tmp_path) if row["face"] in {None, 1}) == paths_of(photos)


def test_second_run_continues_and_replaces_an_incomplete_file(cluster, photos, tmp_path):
    job.run(str(photos), str(tmp_path), SETTINGS, OPTIONS, workers=2, batch_size=16)
    first, second, *_ = sorted(tmp_path.glob("*.parquet"))
    removed = set(pq.read_table(first)["path"].to_pylist()) | set(pq.read_table(second)["path"].to_pylist())
    first.unlink()
    second.write_bytes(second.read_bytes()[:-10])
    assert job.run(str(photos), str(tmp_path), SETTINGS, OPTIONS, workers=1, batch_size=16) == len(removed)
    assert sorted(row["path"] for row in rows_of(tmp_path) if row["face"] in {None, 1}) == paths_of(photos)
    assert job.run(str(photos), str(tmp_path), SETTINGS, OPTIONS, workers=1, batch_size=16) == 0


def test_completed_paths_of_an_empty_output_are_none(tmp_path):
    filesystem, target = fsspec.core.url_to_fs(str(tmp_path / "new"))
    assert job.completed(filesystem, target) == set()


def test_file_of_another_program_in_the_output_is_refused_and_kept(tmp_path):
    other = tmp_path / "sales.parquet"
    pq.write_table(pa.table({"price": [1]}), other)
    filesystem, target = fsspec.core.url_to_fs(str(tmp_path))
    with pytest.raises(job.OutputError, match="sales"):
        job.completed(filesystem, target)
    assert other.exists()
