"""ONNX Runtime session of one verified model: provider selection, self-test, warm-up, inference.

`python -m training evaluate` uses this class too, so published figures apply to the service.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from app.config import Device
from app.contract.manifest import Manifest, Precision, load_manifest, verify_embedded
from app.contract.preprocess import GreyImage
from app.contract.sidecar import ManifestError, golden_path

CPU_PROVIDER = "CPUExecutionProvider"
CUDA_PROVIDER = "CUDAExecutionProvider"

# Largest difference of a logit from its golden value. Results of different CPUs differ by about 1e-5 and those of CUDA
# without TF32 by up to 1e-3. At a lower precision, rounding in another direction makes a larger difference.
GOLDEN_TOLERANCE: Mapping[Precision, float] = {"float32": 1e-3, "float16": 0.05, "int8": 0.1}

_logger = logging.getLogger(__name__)


class DeviceError(Exception):
    """The requested execution provider is not available; the message gives the reason."""


class SelfTestError(Exception):
    """The loaded model does not reproduce the results of its export."""


class EmotionSession:
    """Loaded and verified model. Thread-safe after construction.

    Args:
        model_path: ONNX file. Its manifest and golden vectors are in the same folder.
        device: `cpu`, `cuda` (fails if CUDA does not work) or `auto` (CUDA if it works, otherwise the CPU and a log
            message).
        threads: Number of threads of one run on the CPU.

    Raises:
        ManifestError: The file, its manifest and this service do not match.
        DeviceError: The device is `cuda`, and CUDA does not work.
    """

    def __init__(self, model_path: Path, device: Device, threads: int) -> None:
        self.manifest: Manifest = load_manifest(model_path)
        self._model_path = model_path
        self._session = open_session(model_path, device, threads)
        self.provider: str = self._session.get_providers()[0]
        verify_embedded(self.manifest, self._session.get_modelmeta().custom_metadata_map, model_path)
        self._verify_tensors()

    def logits(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Run the network once.

        Args:
            crops: uint8 (N, 48, 48, 1), grey levels 0 to 255; N is at least 1.

        Returns:
            float32 (N, 7).
        """
        contract = self.manifest.contract
        (result,) = self._session.run([contract.output.name], {contract.input.name: crops})
        return np.asarray(result, dtype=np.float32)

    def classify(self, crops: Sequence[GreyImage]) -> Sequence[npt.NDArray[np.float32]]:
        """Return the logits of each crop; see `Classifier`."""
        return list(self.logits(np.stack(crops)))

    def self_test(self) -> None:
        """Compare the logits of the golden vectors with those of the export.

        Raises:
            ManifestError: The golden vectors are missing or damaged.
            SelfTestError: A logit differs by more than `GOLDEN_TOLERANCE`.
        """
        tolerance = GOLDEN_TOLERANCE[self.manifest.contract.precision]
        check_golden(self._model_path, self.provider, self.logits, tolerance)

    def warm_up(self, max_batch: int) -> None:
        """Run the smallest and the largest batch, so that the memory is allocated before the first request."""
        contract = self.manifest.contract
        for batch in (1, max_batch):
            self.logits(np.zeros((batch, *map(int, contract.input.shape[1:])), dtype=np.uint8))

    def _verify_tensors(self) -> None:
        contract = self.manifest.contract
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        for role, nodes, spec in (("input", inputs, contract.input), ("output", outputs, contract.output)):
            found = [(node.name, node.type, tuple(node.shape)) for node in nodes]
            element = {"uint8": "tensor(uint8)", "float32": "tensor(float)"}.get(spec.dtype)
            if found != [(spec.name, element, spec.shape)]:
                raise ManifestError(
                    f"{self._model_path}: expected one {role} {spec.name} {spec.dtype} {spec.shape}. Received: {found}"
                )


def check_golden(
    model_path: Path,
    provider: str,
    run: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]],
    tolerance: float,
) -> None:
    """Compare the logits of the golden vectors with those of the export.

    Args:
        model_path: ONNX file.
        provider: Execution provider, for the error.
        run: Function from crops to logits.
        tolerance: Largest accepted difference of a logit.

    Raises:
        ManifestError: The golden vectors are missing or damaged.
        SelfTestError: A logit differs by more than the tolerance.
    """
    crops, golden = load_golden(model_path)
    worst = float(np.abs(run(crops) - golden).max())
    if not worst <= tolerance:
        raise SelfTestError(
            f"{model_path} on {provider}: logits differ from the golden vectors by {worst:.2g};"
            f" at most {tolerance:g} is accepted"
        )


def load_golden(model_path: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Return the golden vectors of a model: crops, uint8 (N, 48, 48, 1), and their logits, float32 (N, 7).

    Raises:
        ManifestError: The golden vectors are missing or damaged.
    """
    path = golden_path(model_path)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return arrays["crops"], arrays["logits"]
    except Exception as error:  # numpy raises many kinds of exceptions for a damaged archive
        raise ManifestError(f"golden vectors {path} are missing or damaged") from error


def open_session(model_path: Path, device: Device, threads: int) -> ort.InferenceSession:
    """Open any ONNX file with the service's options. Arguments and errors are those of `EmotionSession`."""
    if device == "cpu":
        return _open(model_path, [CPU_PROVIDER], threads)
    if device == "auto" and not _gpu_visible():
        _logger.info("no NVIDIA GPU found: serving from the CPU")
        return _open(model_path, [CPU_PROVIDER], threads)
    obstacle = _cuda_obstacle()
    if obstacle is None:
        session = _open(model_path, [CUDA_PROVIDER, CPU_PROVIDER], threads)
        # If CUDA's libraries do not load, ONNX Runtime falls back to the CPU with only a log message.
        if session.get_providers()[0] == CUDA_PROVIDER:
            return session
        obstacle = "ONNX Runtime could not load CUDA or cuDNN; its log message names the library"
    if device == "cuda":
        raise DeviceError(f"FER_DEVICE=cuda cannot be served: {obstacle}")
    _logger.warning("FER_DEVICE=auto serves from the CPU: %s", obstacle)
    return _open(model_path, [CPU_PROVIDER], threads)


def _cuda_obstacle() -> str | None:
    """Return the reason why CUDA cannot work, or None. Load CUDA's libraries from NVIDIA's packages if installed."""
    if CUDA_PROVIDER not in ort.get_available_providers():
        return "this build of ONNX Runtime has no CUDA (install requirements.txt and requirements/cuda.txt)"
    if not _gpu_visible():
        return "no NVIDIA GPU found"
    ort.preload_dlls()
    return None


def _gpu_visible() -> bool:
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()  # /dev/dxg: WSL


def _open(model_path: Path, providers: list[str], threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Idle threads must not spin: detection needs the cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors
    provider_options = [{"use_tf32": "0"} if provider == CUDA_PROVIDER else {} for provider in providers]
    try:
        return ort.InferenceSession(model_path, options, providers=providers, provider_options=provider_options)
    except Exception as error:  # ONNX Runtime's exceptions have no public base class
        raise ManifestError(f"{model_path} cannot be loaded by ONNX Runtime: {error}") from error
