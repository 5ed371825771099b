"""One network in ONNX Runtime and in OpenVINO: accuracy and latency in one table.

Only this module imports OpenVINO, which is optional: `requirements/openvino.txt`.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from app.contract.preprocess import CROP_SIZE_PX
from app.inference.session import open_session
from training.errors import TrainingError
from training.evaluation.evaluate import in_batches
from training.evaluation.metrics import wilson_interval

_WARM_UP_RUNS = 20
_TIMED_RUNS = 200

Images = npt.NDArray[np.uint8]
Logits = npt.NDArray[np.float32]
Network = Callable[[Images], Logits]


@dataclass(frozen=True)
class RuntimeRow:
    """Result of one runtime.

    Attributes:
        runtime: Name, version and arithmetic of the runtime.
        accuracy: 0 to 1.
        interval: 95 % interval of the accuracy (Wilson).
        equal: Share of the images with the same prediction as the first runtime, 0 to 1.
        ms: Median milliseconds per face on one core.
    """

    runtime: str
    accuracy: float
    interval: tuple[float, float]
    equal: float
    ms: float


def check_openvino() -> None:
    """Raise `TrainingError` with the command that installs OpenVINO, if it is missing."""
    if importlib.util.find_spec("openvino") is None:
        raise TrainingError(
            "expected the package openvino. Received: it is not installed. Install it with"
            " `python -m pip install -r requirements/openvino.txt`."
        )


def compare_runtimes(
    networks: Mapping[str, Network], images: Images, labels: npt.NDArray[np.int64]
) -> tuple[RuntimeRow, ...]:
    """Measure networks on the same images, one row for each. Their timed runs alternate.

    Args:
        networks: The network in each runtime, by name: images uint8 (N, 48, 48, 1) to logits float32 (N, 7).
        images: uint8 (N, 48, 48, 1).
        labels: int64 (N,).
    """
    predicted = {
        name: np.concatenate([network(batch) for batch in in_batches(images)]).argmax(axis=1)
        for name, network in networks.items()
    }
    first = next(iter(predicted.values()))
    milliseconds = _latencies(networks)
    return tuple(
        RuntimeRow(
            runtime=name,
            accuracy=float((codes == labels).mean()),
            interval=wilson_interval(int((codes == labels).sum()), len(labels)),
            equal=float((codes == first).mean()),
            ms=milliseconds[name],
        )
        for name, codes in predicted.items()
    )


def open_networks(model: Path) -> dict[str, Network]:
    """Open an ONNX file in ONNX Runtime as the service does, and in OpenVINO; each with one thread.

    OpenVINO uses bfloat16 on CPUs that have it. Then it is opened with float32 too.

    Raises:
        TrainingError: OpenVINO is not installed.
    """
    check_openvino()
    import openvino

    session = open_session(model, "cpu", threads=1)
    networks: dict[str, Network] = {f"ONNX Runtime {ort.__version__}": partial(_run_session, session)}
    version = openvino.__version__.partition("-")[0]
    core, options = openvino.Core(), {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
    for more in ({}, {"INFERENCE_PRECISION_HINT": "f32"}):
        compiled = core.compile_model(str(model), "CPU", options | more)
        arithmetic = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        name = f"OpenVINO {version}, {arithmetic}"
        networks.setdefault(name, partial(_run_compiled, compiled))
    return networks


def as_table(rows: Mapping[str, tuple[RuntimeRow, ...]]) -> str:
    """Return a Markdown table with the rows of several files, by file name."""
    lines = [
        "| file | runtime | accuracy | 95 % interval | equal predictions | ms per face, one core |",
        "| --- | --- | ---: | --- | ---: | ---: |",
    ]
    for file, rows_of in rows.items():
        lines += [
            f"| {file} | {row.runtime} | {row.accuracy:.2%} | {row.interval[0]:.2%} to {row.interval[1]:.2%}"
            f" | {row.equal:.2%} | {row.ms:.2f} |"
            for row in rows_of
        ]
    return "\n".join(lines)


def _run_session(session: ort.InferenceSession, images: Images) -> Logits:
    return np.asarray(session.run(["logits"], {"image": images})[0])


def _run_compiled(compiled: Callable[[Mapping[str, Images]], Mapping[str, Logits]], images: Images) -> Logits:
    return np.array(compiled({"image": images})["logits"])


def _latencies(networks: Mapping[str, Network]) -> dict[str, float]:
    face = np.random.default_rng(0).integers(0, 256, (1, CROP_SIZE_PX, CROP_SIZE_PX, 1), np.uint8)
    times: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(_WARM_UP_RUNS + _TIMED_RUNS):
        for name, network in networks.items():
            started = time.perf_counter()
            network(face)
            times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values[_WARM_UP_RUNS:]) * 1e3 for name, values in times.items()}
