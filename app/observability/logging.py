"""Logging configuration: JSON, or text on a terminal. Logs never hold image bytes, boxes, scores or keys."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import cast, get_args

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from app.config import ENV_PREFIX, LogFormat, LogLevel
from app.observability.native_output import log_native_output

LOG_FORMAT_VARIABLE = f"{ENV_PREFIX}LOG_FORMAT"

_TEXT = "%(asctime)s %(levelname)-8s %(name)s: %(message)s"
_JSON_FIELDS = "%(asctime)s %(levelname)s %(name)s %(message)s"
# Libraries log parts of images (Pillow) and messages (websockets) at the level DEBUG.
_OWN_LOGGER = "app"

_logger = logging.getLogger(__name__)

_fields: ContextVar[Mapping[str, str]] = ContextVar("log_fields", default={})  # noqa: B039  (the default is never changed)


@contextmanager
def log_fields(fields: Mapping[str, str]) -> Iterator[None]:
    """Add fields, such as the request id, to every record that is logged inside the `with` block."""
    token = _fields.set(fields)
    try:
        yield
    finally:
        _fields.reset(token)


class FieldsFilter(logging.Filter):
    """Filter that adds the fields of `log_fields` to every record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields that the record does not have, and accept the record."""
        for name, value in _fields.get().items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


def select_format(log_format: str | None) -> LogFormat:
    """Return a valid format. Without one, it is text if standard error is a terminal, else JSON."""
    if log_format in get_args(LogFormat):
        return cast(LogFormat, log_format)
    return "text" if sys.stderr.isatty() else "json"


def configure_process_logging(environment: Mapping[str, str]) -> None:
    """Configure the log of `python -m app` before there are settings.

    Exceptions that Python would print, and in the JSON format the output of native libraries, become records too.
    """
    log_format = select_format(environment.get(LOG_FORMAT_VARIABLE))
    if log_format == "json":
        log_native_output()
    configure_logging(log_format)
    _log_uncaught_exceptions()


def configure_logging(log_format: LogFormat | None, level: LogLevel = "info") -> None:
    """Send all log records of the process, including uvicorn's, and all warnings of Python to standard error.

    Args:
        log_format: `text` or `json`; see `select_format` for None.
        level: Lowest level. `debug` applies to the service only: libraries log data of callers at that level.
    """
    formatter = (
        logging.Formatter(_TEXT)
        if select_format(log_format) == "text"
        else JsonFormatter(
            _JSON_FIELDS,
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            reserved_attrs=[*RESERVED_ATTRS, "color_message"],  # an extra field of uvicorn for terminals
        )
    )
    formatter.converter = time.gmtime
    formatter.default_time_format, formatter.default_msec_format = "%Y-%m-%dT%H:%M:%S", "%s.%03dZ"
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(formatter)
    stream.addFilter(FieldsFilter())
    # Neither format shows these fields, so collecting them for each record is wasted time.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # disables the search for the caller; see "Optimization" in the Logging HOWTO
    lowest = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(level=max(lowest, logging.INFO), handlers=[stream], force=True)
    logging.getLogger(_OWN_LOGGER).setLevel(lowest)
    logging.captureWarnings(True)


def _log_uncaught_exceptions() -> None:
    def log_thread(failure: threading.ExceptHookArgs) -> None:
        name = failure.thread.name if failure.thread is not None else "unknown"
        _logger.critical("uncaught exception in thread %s", name, exc_info=failure.exc_value)

    sys.excepthook = lambda kind, error, traceback: _logger.critical("uncaught exception", exc_info=error)
    threading.excepthook = log_thread
    sys.unraisablehook = lambda failure: _logger.error(
        "ignored exception in %r", failure.object, exc_info=failure.exc_value
    )
