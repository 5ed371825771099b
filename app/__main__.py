"""`python -m app`: run the service as a process.

The handlers of signals are set before the imports of the service, which take a second. Until there is a handler, the
kernel ignores SIGTERM for process 1, which the process of a container is.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal ends the process; return the exit status."""
    from app.process import run

    return run(arguments)


def end_on_signals() -> None:
    """End the process at the first SIGTERM or SIGINT, until the server listens and handles them."""
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # the image blocks it until here


def _end(sig: int, frame: FrameType | None) -> NoReturn:
    del sig, frame
    os._exit(0)


def _leave(status: int) -> NoReturn:
    """End the process without waiting for its threads: a thread that hangs would keep the process running."""
    import logging

    logging.shutdown()
    sys.stdout.flush()
    os._exit(status)


if __name__ == "__main__":
    end_on_signals()
    from app.observability.logging import configure_process_logging

    configure_process_logging(os.environ)
    _leave(main())
