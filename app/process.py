"""The service as a process: options, settings, logging, server, exit status."""

from __future__ import annotations

import argparse
import asyncio
import logging
import math
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn, cast

import uvicorn
from fastapi import FastAPI

from app.api.service import Service
from app.config import LogFormat, Settings, SettingsError, load_settings
from app.contract.sidecar import ManifestError
from app.inference.session import SelfTestError
from app.main import API_VERSION, create_app
from app.observability.logging import LOG_FORMAT_VARIABLE, configure_logging, select_format
from app.observability.tracing import load_tracing
from app.server.address import listening_sockets, trusted_addresses
from app.server.drain import DrainingServer
from app.server.memory import tune_allocator
from app.server.protocol import BoundedHttpProtocol
from app.server.stream_protocol import BoundedWebSocketProtocol
from app.vision.yunet import DetectorModelError

_BAD_SETTINGS = 2
_CANNOT_SERVE = 3
# After the drain, requests in progress have this long, or their whole deadline, until their connections are closed.
LAST_REQUESTS_S = 10

_logger = logging.getLogger("app")


def run(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal ends the process; return the exit status."""
    parser = _parser(select_format(os.environ.get(LOG_FORMAT_VARIABLE)))
    try:
        options = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
        settings = load_settings(os.environ, options)
        configure_logging(settings.log_format, settings.log_level)
        tracing = load_tracing(settings, os.environ)
    except SettingsError as error:
        _logger.critical("fer-serve cannot start: %s", error)
        return _BAD_SETTINGS
    tune_allocator()

    def end_with(error: Exception) -> None:
        server.fail(error, has_served=app.state.service.engine.is_loaded)

    try:
        app = create_app(settings, on_fatal=end_with, tracing=tracing)
    except (DetectorModelError, ManifestError, SelfTestError) as error:
        _logger.critical("fer-serve cannot serve: %s", error)
        return _CANNOT_SERVE
    server = build_server(app, settings)
    try:
        server.run(listening_sockets(settings.host, settings.port) if settings.uds is None else None)
    except (OSError, SystemExit) as error:  # uvicorn exits if it cannot listen; its log line has the reason
        reason = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
        address = settings.uds or f"{settings.host} port {settings.port}"
        _logger.critical("fer-serve cannot serve: cannot listen on %s%s", address, reason)
        return _CANNOT_SERVE
    finally:
        server.remove_unix_socket()
    if server.fatal is not None:
        _logger.critical("fer-serve cannot serve: %s", server.fatal)
        return _CANNOT_SERVE
    return 0


def build_server(app: FastAPI, settings: Settings) -> DrainingServer:
    """Return uvicorn's server for the application."""
    service = app.state.service
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        uds=None if settings.uds is None else str(settings.uds),
        root_path=settings.root_path,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=trusted_addresses(settings.trusted_proxies),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=settings.keep_alive_s,
        http=BoundedHttpProtocol,
        ws=websocket_protocol(service),
        # A frame above the body limit gets an error message. Above this size its connection is closed (1009).
        ws_max_size=2 * settings.max_body_bytes,
        ws_per_message_deflate=False,  # images are compressed already, and a compressed bomb costs time to inflate
        timeout_graceful_shutdown=max(LAST_REQUESTS_S, math.ceil(settings.deadline_ms / 1000)),
    )
    return DrainingServer(config, service.readiness, settings.drain_s, service.engine.reload)


def websocket_protocol(service: Service) -> type[asyncio.Protocol]:
    """Return uvicorn's WebSocket protocol with the limits of the service."""
    protocol = partial(
        BoundedWebSocketProtocol,
        admission=service.admission,
        message_timeout_s=service.settings.deadline_ms / 1000,
    )
    return cast(type[asyncio.Protocol], protocol)  # uvicorn only calls it


class _LoggingParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raise the error instead of printing it, so that it gets the format of the log."""
        raise SettingsError(f"{message}; --help lists the options")


def _parser(log_format: LogFormat) -> argparse.ArgumentParser:
    parser_class = _LoggingParser if log_format == "json" else argparse.ArgumentParser
    parser = parser_class(
        prog="python -m app",
        description="Serve facial emotion recognition over HTTP.",
        epilog="Every setting is an environment variable with the prefix FER_ (docs/settings.md lists them)."
        " An option overrides its variable.",
    )
    parser.add_argument("--version", action="version", version=f"fer-serve {API_VERSION}")
    parser.add_argument("--host", help="address to listen on (FER_HOST; default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on, 0 for any free port (FER_PORT; default 8000)")
    parser.add_argument("--model", type=Path, help="ONNX file of the model (FER_MODEL; default models/fer_vgg.onnx)")
    return parser
