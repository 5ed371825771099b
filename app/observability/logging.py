"""Logging configuration: JSON, or text on a terminal. Logs never hold image bytes, boxes, scores or keys."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from app.config import LogFormat

_TEXT = "%(asctime)s %(levelname)-8s %(name)s: %(message)s"
_JSON_FIELDS = "%(asctime)s %(levelname)s %(name)s %(message)s"

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


def configure_logging(log_format: LogFormat | None) -> None:
    """Send all log records of the process, including uvicorn's, to standard error in one format.

    Args:
        log_format: `text` or `json`. None selects text if standard error is a terminal, else JSON.
    """
    chosen = log_format or ("text" if sys.stderr.isatty() else "json")
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
    stream.addFilter(FieldsFilter())
    # Neither format shows these fields, so collecting them for every record is wasted time.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # disables the search for the caller; see "Optimization" in the Logging HOWTO
    logging.basicConfig(level=logging.INFO, handlers=[stream], force=True)
