"""A uvicorn server that drains on SIGTERM and reloads the model on SIGHUP."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from app.engine.readiness import Readiness, State
from app.errors import FerError
from app.server.memory import freeze_garbage_collector

_logger = logging.getLogger(__name__)


class DrainingServer(uvicorn.Server):
    """A uvicorn server that continues to serve for a while after SIGTERM, until load balancers have noticed the drain.

    Args:
        config: Configuration of uvicorn.
        readiness: State of the instance; the drain changes it.
        drain_s: Duration of the drain in seconds. SIGINT (Ctrl-C) and a second SIGTERM end it early.
        reload: Called for each SIGHUP. It logs its failures itself.

    Attributes:
        fatal: The error that ended the server; None if a signal ended it.
    """

    def __init__(
        self, config: uvicorn.Config, readiness: Readiness, drain_s: float, reload: Callable[[], Awaitable[object]]
    ) -> None:
        super().__init__(config)
        self._readiness = readiness
        self._drain_s = drain_s
        self._reload = reload
        self._reloads: set[asyncio.Task[None]] = set()
        self._draining = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._unix_socket: tuple[int, int] | None = None  # device and inode of the socket that this server created
        self.fatal: Exception | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, and handle SIGHUP from now on."""
        self._loop = asyncio.get_running_loop()
        try:
            await super().startup(sockets)
        except OSError as error:  # of a UNIX socket; uvicorn handles those of a port in this way
            _logger.error(error)
            await self.lifespan.shutdown()
            sys.exit(STARTUP_FAILURE)
        for listener in sockets or ():  # uvicorn logs the sockets that it opens
            _logger.info("listening on %s port %d", *listener.getsockname()[:2])
        if self.config.uds is not None:
            self._unix_socket = _identity(Path(self.config.uds))
        freeze_garbage_collector()
        self._loop.add_signal_handler(signal.SIGHUP, self._start_reload)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain on the first SIGTERM, end the server on the next signal, drop requests on the third.

        An instance that has never been ready has no callers and ends without a drain. uvicorn's own handler is not
        called: it raises the signal again after a clean end, which sets the exit status.
        """
        del frame
        was_starting = self._readiness.state is State.STARTING
        self._readiness.drain()
        if self.should_exit:
            self.force_exit = True
        elif sig == signal.SIGTERM and not self._draining and not was_starting:
            self._start_drain()
        else:
            self._end()

    def remove_unix_socket(self) -> None:
        """Remove the UNIX socket that this server created. Any other file at its path stays.

        Another instance may have replaced the socket, as in an update on one machine.
        """
        if self.config.uds is not None and self._unix_socket is not None:
            path = Path(self.config.uds)
            with suppress(FileNotFoundError):
                if _identity(path) == self._unix_socket:
                    path.unlink()

    def fail(self, error: Exception, has_served: bool) -> None:
        """End the server because it cannot serve.

        Args:
            error: The failure.
            has_served: True if load balancers may still send requests. The server then drains first.
        """
        self.fatal = error
        if not has_served:
            self._end()
        elif not self._draining:
            self._start_drain()

    def _start_reload(self) -> None:
        async def reload() -> None:
            with suppress(FerError):
                await self._reload()

        task = asyncio.create_task(reload())
        self._reloads.add(task)  # the event loop keeps weak references only
        task.add_done_callback(self._reloads.discard)

    def _start_drain(self) -> None:
        self._draining = True
        self._log(f"drain begun: readiness is 503, and requests are served for {self._drain_s:g} s more")
        timer = threading.Timer(self._drain_s, self._end)
        timer.daemon = True
        timer.start()

    def _end(self) -> None:
        if self._draining and not self.should_exit:
            self._log("drain ended: no new connections, running requests are answered")
        self.should_exit = True

    def _log(self, line: str) -> None:
        """Log from the event loop: in a signal handler, a write to the log may interrupt another write."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(_logger.info, line)


def _identity(path: Path) -> tuple[int, int]:
    """Return the device and the inode of a file."""
    status = path.stat()
    return status.st_dev, status.st_ino
