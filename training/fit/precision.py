"""The floating-point precision of a run: what a config requests and what the hardware can do.

`mixed_bfloat16` computes in bfloat16 and keeps weights and logits in float32. It is about twice as fast as float32 on
hardware with bfloat16 arithmetic. Elsewhere PyTorch emulates it slowly, or has no such convolution and fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import keras

Policy = Literal["float32", "mixed_bfloat16"]
Request = Literal["auto", "float32", "mixed_bfloat16"]

# Capabilities of `torch.cpu.get_capabilities()` that mean bfloat16 arithmetic, with the name that a user knows.
_CPU_FEATURES = {"amx_bf16": "AMX-BF16", "avx512_bf16": "AVX512-BF16", "bf16": "the Arm BF16 extension"}


@dataclass(frozen=True)
class Bfloat16Support:
    """Whether this machine computes in bfloat16 natively.

    Attributes:
        available: Native bfloat16 arithmetic exists.
        reason: A clause that says what the machine has or lacks, such as "the CPU has AVX512-BF16".
    """

    available: bool
    reason: str


def detect_bfloat16() -> Bfloat16Support:
    """Detect native bfloat16 arithmetic of the device that Keras trains on: the CUDA GPU, or without one the CPU."""
    backend = keras.config.backend()
    if backend != "torch":
        return Bfloat16Support(False, f"bfloat16 is only detected for the torch backend; Keras runs on {backend}")
    import torch

    if torch.cuda.is_available():
        available = torch.cuda.is_bf16_supported(including_emulation=False)
        return Bfloat16Support(available, f"the GPU has {'' if available else 'no '}bfloat16 arithmetic")
    # The operator exists only in builds with oneDNN. It respects the environment variable ONEDNN_MAX_CPU_ISA.
    onednn = (
        torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )
    return bfloat16_of_cpu(torch.cpu.get_capabilities(), onednn=onednn)


def bfloat16_of_cpu(capabilities: Mapping[str, Any], *, onednn: bool) -> Bfloat16Support:
    """Decide from a CPU's features whether bfloat16 is native.

    Args:
        capabilities: The mapping of `torch.cpu.get_capabilities()`.
        onednn: oneDNN, the library behind PyTorch's convolutions on a CPU, accepts bfloat16.
    """
    features = [name for key, name in _CPU_FEATURES.items() if capabilities.get(key)]
    if not features:
        return Bfloat16Support(False, "the CPU has no bfloat16 arithmetic (AVX512-BF16, AMX or Arm BF16)")
    if not onednn:
        return Bfloat16Support(False, f"the CPU has {features[0]}, but oneDNN does not use it")
    return Bfloat16Support(True, f"the CPU has {features[0]}")


def choose_precision(requested: Request, begun_with: Policy | None, support: Bfloat16Support) -> tuple[Policy, str]:
    """Choose the dtype policy of a run.

    A run that is resumed keeps the policy that it began with, whatever the config requests. float32 replaces
    `mixed_bfloat16` on hardware without bfloat16.

    Args:
        requested: `precision` of the config.
        begun_with: Policy of the run's earlier epochs; None for a new run.
        support: What the hardware can do.

    Returns:
        The Keras dtype policy, and the reason as one line for the user.
    """
    native: Policy = "mixed_bfloat16" if support.available else "float32"
    wanted = begun_with or (native if requested == "auto" else requested)
    if wanted == "mixed_bfloat16" and not support.available:
        source = "the run began with" if begun_with else "the config requests"
        return "float32", f"{source} mixed_bfloat16, but {support.reason}"
    if begun_with:
        return begun_with, "the run began with it"
    return wanted, support.reason if requested == "auto" else "the config requests it"
