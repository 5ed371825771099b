"""Log lines: JSON for machines, text for a terminal. Never image bytes, boxes, scores or keys."""

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

_fields: ContextVar[Mapping[str, str]] = ContextVar("log_fields", default={})  # noqa: B039  (never written to)


@contextmanager
def log_fields(fields: Mapping[str, str]) -> Iterator[None]:
    """Adds fields, such as the request's id, to every line that is logged within."""
    token = _fields.set(fields)
    try:
        yield
    finally:
        _fields.reset(token)


class FieldsFilter(logging.Filter):
    """Puts the fields of `log_fields` on every record that passes."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets every record pass; its own fields win."""
        for name, value in _fields.get().items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


def configure_logging(log_format: LogFormat | None) -> None:
    """Sends all logging of the process, uvicorn's too, to standard error in one format.

    Args:
        log_format: None chooses text where standard error is a terminal, else JSON.
    """
    chosen = log_format or ("text" if sys.stderr.isatty() else "json")
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(
        logging.Formatter(_TEXT)
        if chosen == "text"
        else JsonFormatter(
            _JSON_FIELDS,
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            reserved_attrs=[*RESERVED_ATTRS, "color_message"],  # uvicorn's, for terminals
        )
    )
    stream.addFilter(FieldsFilter())
    # What no format here shows is not looked up for every line.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # documented ("Optimization", Logging HOWTO): the place of a call is not looked up
    logging.basicConfig(level=logging.INFO, handlers=[stream], force=True)
