"""`python -m app`: run the service as a process."""

from __future__ import annotations

import argparse
import logging
import math
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import uvicorn
from fastapi import FastAPI

from app.config import Settings, SettingsError, load_settings
from app.main import create_app
from app.observability.logging import configure_logging
from app.observability.tracing import load_tracing
from app.server.drain import DrainingServer
from app.server.memory import tune_allocator
from app.server.protocol import BoundedHttpProtocol

_BAD_SETTINGS = 2
_CANNOT_SERVE = 3
# After the drain, requests in progress have this long, or their whole deadline, until their connections are closed.
_LAST_REQUESTS_S = 10
# Longer than the idle timeout of load balancers (AWS: 60 s): if the service closed a connection first, a request that
# the load balancer sends at that moment would be lost.
_KEEP_ALIVE_S = 75


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal ends the process; return the exit status."""
    options = {name: value for name, value in vars(_parser().parse_args(arguments)).items() if value is not None}
    try:
        settings = load_settings(os.environ, options)
        tracing = load_tracing(settings, os.environ)
    except SettingsError as error:
        print(f"fer-serve cannot start: {error}", file=sys.stderr)
        return _BAD_SETTINGS
    configure_logging(settings.log_format)
    tune_allocator()

    def end_with(error: Exception) -> None:
        server.fail(error, has_served=app.state.service.engine.is_loaded)

    app = create_app(settings, on_fatal=end_with, tracing=tracing)
    server = build_server(app, settings)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the server listens and handles it
    try:
        server.run()
    except SystemExit:  # uvicorn cannot listen; its log line has the reason
        print(f"fer-serve cannot serve: cannot listen on {settings.host} port {settings.port}", file=sys.stderr)
        return _CANNOT_SERVE
    if server.fatal is not None:
        print(f"fer-serve cannot serve: {server.fatal}", file=sys.stderr)
        return _CANNOT_SERVE
    return 0


def build_server(app: FastAPI, settings: Settings) -> DrainingServer:
    """Return uvicorn's server for the application."""
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        http=BoundedHttpProtocol,
        ws="websockets-sansio",
        # A frame above the body limit gets an error message. Above this size its connection is closed (1009).
        ws_max_size=2 * settings.max_body_bytes,
        ws_per_message_deflate=False,  # images are compressed already, and a compressed bomb costs time to inflate
        timeout_graceful_shutdown=max(_LAST_REQUESTS_S, math.ceil(settings.deadline_ms / 1000)),
    )
    service = app.state.service
    return DrainingServer(config, service.readiness, settings.drain_s, service.engine.reload)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m app",
        description="Serve facial emotion recognition over HTTP.",
        epilog="Every setting is an environment variable with the prefix FER_ (README.md lists them)."
        " An option overrides its variable.",
    )
    parser.add_argument("--host", help="address to listen on (FER_HOST; default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on, 0 for any free port (FER_PORT; default 8000)")
    parser.add_argument("--model", type=Path, help="ONNX file of the model (FER_MODEL; default models/fer_vgg.onnx)")
    return parser


def _leave(status: int) -> NoReturn:
    """End the process without waiting for its threads: a thread that hangs would keep the process running."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(status)


if __name__ == "__main__":
    _leave(main())
