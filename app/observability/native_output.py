"""What libraries in C and C++ write to standard error, as log records."""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading

_STDERR = 2
_MAX_LINE_CHARACTERS = 1000

_logger = logging.getLogger("native")


def log_native_output() -> None:
    """Log each line that a library writes to file descriptor 2, such as the warnings of libtiff or ONNX Runtime.

    Python's `sys.stderr`, and so the log, keeps the original destination. A library may write while it holds the
    interpreter lock, so the descriptor never blocks: what exceeds the buffer of the kernel is lost. The traceback of a
    crash goes to the original destination.
    """
    sys.stderr = os.fdopen(os.dup(_STDERR), "w", buffering=1, errors="backslashreplace")
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    os.dup2(write_end, _STDERR)
    os.close(write_end)
    faulthandler.enable(sys.stderr)
    threading.Thread(target=_log_lines, args=(read_end,), name="native output", daemon=True).start()


def _log_lines(read_end: int) -> None:
    with os.fdopen(read_end, errors="backslashreplace") as lines:
        for line in lines:
            if text := line.strip():
                _logger.warning("%s", text[:_MAX_LINE_CHARACTERS])
