"""How many vision threads run, and how many bytes of bodies are in memory at once, so that memory is enough for both.

Without these bounds the kernel ends the process at the memory limit of its container, with all requests in it.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass

from app.config import Settings
from app.server.cgroup import ControlGroups
from app.vision.decode.limits import MAX_DECODE_BYTES

# The process after its start with the largest batch, and for CUDA the libraries of NVIDIA besides.
# `make memory-test` prints the first figure; the second one is an estimate.
_PROCESS_BYTES = 220_000_000
_CUDA_BYTES = 2_000_000_000
# One decoding, and freed memory that the allocator keeps for the thread.
_VISION_THREAD_BYTES = MAX_DECODE_BYTES + 32 * 1024 * 1024
# Vision threads leave this share of the memory to bodies.
_BODIES_SHARE = 0.25
# Peak memory for each byte of a body: JSON is in memory beside the image that it encodes, multipart twice for a moment.
_BYTES_PER_BODY_BYTE = 2

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the instance may use at once.

    Attributes:
        cores: Number of cores.
        memory_bytes: Memory of the process.
        vision_threads: Threads for decoding and detection.
        inflight_bytes: Bytes of the bodies of all requests in progress.
        is_enough: Whether the memory is enough for the smallest number of threads and the largest body.
    """

    cores: int
    memory_bytes: int
    vision_threads: int
    inflight_bytes: int
    is_enough: bool


def plan_capacity(settings: Settings, cores: int, memory_bytes: int) -> Capacity:
    """Share the memory between vision threads and bodies.

    Args:
        settings: Settings of the operator; they override the results.
        cores: Number of cores that the process may use.
        memory_bytes: Memory that the process may use.
    """
    free_bytes = memory_bytes - _PROCESS_BYTES - (_CUDA_BYTES if settings.device == "cuda" else 0)
    by_memory = int(free_bytes * (1 - _BODIES_SHARE) / _VISION_THREAD_BYTES)
    vision_threads = settings.vision_threads or max(1, min(vision_thread_count(cores), by_memory))
    derived_bytes = (free_bytes - vision_threads * _VISION_THREAD_BYTES) // _BYTES_PER_BODY_BYTE
    # One body of the largest size is always accepted.
    inflight_bytes = settings.max_inflight_bytes or max(derived_bytes, settings.max_body_bytes)
    return Capacity(cores, memory_bytes, vision_threads, inflight_bytes, derived_bytes >= inflight_bytes)


def log_capacity(capacity: Capacity) -> None:
    """Log what the instance may use, and warn if its memory may be too small."""
    _logger.info(
        "%d vision threads and %d MB for bodies in progress, with %d cores and %d MB of memory",
        capacity.vision_threads,
        capacity.inflight_bytes // 1_000_000,
        capacity.cores,
        capacity.memory_bytes // 1_000_000,
    )
    if not capacity.is_enough:
        _logger.warning(
            "the memory may not be enough for this: raise the memory limit, or lower FER_MAX_BODY_BYTES,"
            " FER_MAX_INFLIGHT_BYTES or FER_VISION_THREADS"
        )


def vision_thread_count(cores: int) -> int:
    """Return the number of threads for decoding and detection: one more than cores, and one on a single core.

    The kernel often runs two vision threads on one core while the other core has no work, and a vision thread that
    waits for Python's lock leaves its core idle. One more thread uses this time: on two cores, portraits gain 7 % of
    throughput. On a single core a second thread only competes with the event loop, and overload lowers goodput more.

    Args:
        cores: Number of cores that the process may use.
    """
    return cores + 1 if cores > 1 else 1


def available_memory_bytes(groups: ControlGroups | None = None) -> int:
    """Return the memory that the process may use: that of the machine, or the smallest limit of its control groups.

    Args:
        groups: Control groups of the process; None to find them.
    """
    machine_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit_bytes = (groups or ControlGroups()).memory_limit_bytes()
    return machine_bytes if limit_bytes is None else min(machine_bytes, limit_bytes)
