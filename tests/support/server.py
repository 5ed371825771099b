"""The application on uvicorn, in a thread of the test process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI

from app.process import websocket_protocol
from app.server.protocol import BoundedHttpProtocol


@contextmanager
def serving(app: FastAPI, **options: Any) -> Iterator[str]:
    """Serve an application on a free port until the exit, with the protocol of `python -m app`; yield its URL.

    Args:
        app: The application.
        options: Further options of uvicorn.
    """
    protocols = {"http": BoundedHttpProtocol, "ws": websocket_protocol(app.state.service)}
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="on", **protocols, **options))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
