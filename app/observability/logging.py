"""Logging configuration: JSON, or text on a terminal. Logs never hold image bytes, boxes, scores or keys."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from app.config import ENV_PREFIX, LogFormat, LogLevel

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


def configure_logging_from_environment(environment: Mapping[str, str]) -> LogFormat:
    """Configure logging for the failures that precede valid settings; return the format."""
    named = environment.get(f"{ENV_PREFIX}LOG_FORMAT")
    return configure_logging("json" if named == "json" else "text" if named == "text" else None)


def configure_logging(log_format: LogFormat | None, level: LogLevel = "info") -> LogFormat:
    """Send all log records of the process, including uvicorn's, and all warnings of Python to standard error.

    Args:
        log_format: `text` or `json`. None selects text if standard error is a terminal, else JSON.
        level: Lowest level. `debug` applies to the service only: libraries log data of callers at that level.

    Returns:
        The format.
    """
    chosen: LogFormat = log_format or ("text" if sys.stderr.isatty() else "json")
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(
        logging.Formatter(_TEXT)
        if chosen == "text"
        else JsonFormatter(
            _JSON_FIELDS,
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            reserved_attrs=[*RESERVED_ATTRS, "color_message"],  # an extra field of uvicorn for terminals
        )
    )
    assert stream.formatter is not None  # noqa: S101  (set above)
    stream.formatter.converter = time.gmtime
    stream.formatter.default_time_format, stream.formatter.default_msec_format = "%Y-%m-%dT%H:%M:%S", "%s.%03dZ"
    stream.addFilter(FieldsFilter())
    # Neither format shows these fields, so collecting them for every record is wasted time.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # disables the search for the caller; see "Optimization" in the Logging HOWTO
    lowest = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(level=max(lowest, logging.INFO), handlers=[stream], force=True)
    logging.getLogger(_OWN_LOGGER).setLevel(lowest)
    logging.captureWarnings(True)
    return chosen


def log_uncaught_exceptions() -> None:
    """Log the exceptions that Python would print: of the main thread, of other threads and of finalizers."""

    def log_thread(failure: threading.ExceptHookArgs) -> None:
        name = failure.thread.name if failure.thread is not None else "unknown"
        _logger.critical("uncaught exception in thread %s", name, exc_info=failure.exc_value)

    sys.excepthook = lambda kind, error, traceback: _logger.critical("uncaught exception", exc_info=error)
    threading.excepthook = log_thread
    sys.unraisablehook = lambda failure: _logger.error(
        "ignored exception in %r", failure.object, exc_info=failure.exc_value
    )
