"""`python -m app`: the service as a process. Reads the settings, runs uvicorn, drains on SIGTERM."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

import uvicorn

from app.config import SettingsError, load_settings
from app.inference.readiness import Readiness
from app.logs import configure_logging
from app.main import create_app
from app.tracing import load_tracing

_BAD_SETTINGS = 2
_CANNOT_SERVE = 3
# After the drain, requests that are still being answered get this long before their connections are closed.
_LAST_REQUESTS_S = 10
# Longer than load balancers keep idle connections (AWS: 60 s): the side that closes first must be theirs, or a request
# that is on its way is lost.
_KEEP_ALIVE_S = 75


class DrainingServer(uvicorn.Server):
    """A uvicorn server that goes on serving for a while after SIGTERM, so that load balancers can look away first.

    Args:
        config: uvicorn's.
        readiness: Told of the drain.
        drain_s: How long, in seconds. SIGINT (a person's Ctrl-C) and a second SIGTERM do not wait for it.
    """

    def __init__(self, config: uvicorn.Config, readiness: Readiness, drain_s: float) -> None:
        super().__init__(config)
        self._readiness = readiness
        self._drain_s = drain_s
        self._draining = False
        self.fatal: Exception | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begins the drain on the first SIGTERM, ends the server on the next signal, drops requests on the third.

        uvicorn's own handler is not called: it would raise the signal again after a clean end, and exit by it.
        """
        del frame
        self._readiness.drain()
        if self.should_exit:
            self.force_exit = True
        elif sig == signal.SIGTERM and not self._draining:
            self._draining = True
            timer = threading.Timer(self._drain_s, self._end)
            timer.daemon = True
            timer.start()
        else:
            self._end()

    def fail(self, error: Exception) -> None:
        """Ends the server because it cannot serve."""
        self.fatal = error
        self.should_exit = True

    def _end(self) -> None:
        self.should_exit = True


def main() -> int:
    """Serves until told to stop; returns the exit status."""
    try:
        settings = load_settings(os.environ)
        tracing = load_tracing(settings, os.environ)
    except SettingsError as error:
        print(f"fer-serve cannot start: {error}", file=sys.stderr)
        return _BAD_SETTINGS
    configure_logging(settings.log_format)

    def end_with(error: Exception) -> None:
        server.fail(error)

    app = create_app(settings, on_fatal=end_with, tracing=tracing)
    server = DrainingServer(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_LAST_REQUESTS_S,
        ),
        app.state.service.readiness,
        settings.drain_s,
    )
    server.run()
    if server.fatal is not None:
        print(f"fer-serve cannot serve: {server.fatal}", file=sys.stderr)
        return _CANNOT_SERVE
    return 0


if __name__ == "__main__":
    sys.exit(main())
