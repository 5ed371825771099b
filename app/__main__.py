"""`python -m app`: the service as a process. Reads the settings, runs uvicorn, drains on SIGTERM."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import os
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import FrameType
from typing import NoReturn

import uvicorn

from app.api.door import Door
from app.config import SettingsError, load_settings
from app.engine.readiness import Readiness
from app.errors import FerError
from app.main import create_app
from app.observability.logging import configure_logging
from app.observability.tracing import load_tracing
from app.server.memory import keep_freed_memory, spare_from_collection
from app.server.protocol import protocol_with

_BAD_SETTINGS = 2
_CANNOT_SERVE = 3
# After the drain, requests that are still being answered get this long, or their whole deadline, before their
# connections are closed.
_LAST_REQUESTS_S = 10
# Longer than load balancers keep idle connections (AWS: 60 s): the side that closes first must be theirs, or a request
# that is on its way is lost.
_KEEP_ALIVE_S = 75
_COLLECT_EVERY_TICKS = 100  # of uvicorn's tenths of a second


class DrainingServer(uvicorn.Server):
    """A uvicorn server that goes on serving for a while after SIGTERM, so that load balancers can look away first.

    Args:
        config: uvicorn's.
        readiness: Told of the drain.
        drain_s: How long, in seconds. SIGINT (a person's Ctrl-C) and a second SIGTERM do not wait for it.
        reload: Called for every SIGHUP; its failures are logged where they happen.
    """

    def __init__(
        self, config: uvicorn.Config, readiness: Readiness, drain_s: float, reload: Callable[[], Awaitable[object]]
    ) -> None:
        super().__init__(config)
        self._readiness = readiness
        self._drain_s = drain_s
        self._reload = reload
        self._reloading: set[asyncio.Task[None]] = set()
        self._draining = False
        self.fatal: Exception | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to listen, for SIGHUP too."""
        await super().startup(sockets)
        spare_from_collection()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._begin_reload)

    async def on_tick(self, counter: int) -> bool:
        """Has Python's collector free from time to time what it seldom looks for by itself."""
        if counter % _COLLECT_EVERY_TICKS == 0:
            gc.collect()
        return await super().on_tick(counter)

    def _begin_reload(self) -> None:
        async def reload() -> None:
            with suppress(FerError):
                await self._reload()

        task = asyncio.create_task(reload())
        self._reloading.add(task)  # or the task could be collected while it runs
        task.add_done_callback(self._reloading.discard)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begins the drain on the first SIGTERM, ends the server on the next signal, drops requests on the third.

        uvicorn's own handler is not called: it would raise the signal again after a clean end, and exit by it.
        """
        del frame
        self._readiness.drain()
        if self.should_exit:
            self.force_exit = True
        elif sig == signal.SIGTERM and not self._draining:
            self._begin_drain()
        else:
            self._end()

    def fail(self, error: Exception, has_served: bool) -> None:
        """Ends the server because it cannot serve.

        Args:
            error: Why.
            has_served: Load balancers may still send requests, so that it drains first.
        """
        self.fatal = error
        if not has_served:
            self._end()
        elif not self._draining:
            self._begin_drain()

    def _begin_drain(self) -> None:
        self._draining = True
        timer = threading.Timer(self._drain_s, self._end)
        timer.daemon = True
        timer.start()

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
    keep_freed_memory()

    def end_with(error: Exception) -> None:
        server.fail(error, has_served=app.state.service.engine is not None)

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
            http=protocol_with(Door(app.state.service)),
            ws="websockets-sansio",
            # A frame above the body limit is answered with an error; above this, its connection is closed (1009).
            ws_max_size=2 * settings.max_body_bytes,
            ws_per_message_deflate=False,  # pictures are compressed, and a deflated bomb costs time to inflate
            timeout_graceful_shutdown=max(_LAST_REQUESTS_S, math.ceil(settings.deadline_ms / 1000)),
        ),
        app.state.service.readiness,
        settings.drain_s,
        lambda: app.state.service.reload(),  # noqa: PLW0108  (it is set when the app starts)
    )
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the server listens: nothing is there to be replaced
    try:
        server.run()
    except SystemExit:  # uvicorn's way to say that it cannot listen; its line before says why
        print(f"fer-serve cannot serve: {settings.host} port {settings.port} cannot be listened on", file=sys.stderr)
        return _CANNOT_SERVE
    if server.fatal is not None:
        print(f"fer-serve cannot serve: {server.fatal}", file=sys.stderr)
        return _CANNOT_SERVE
    return 0


def _leave(status: int) -> NoReturn:
    """Ends the process without waiting for its threads: one that hangs would keep it for ever."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(status)


if __name__ == "__main__":
    _leave(main())
