"""The log: one JSON object a line, on standard output. A reader that stalls stalls no request."""

import logging
import logging.handlers
import queue
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, TextIO

from genir.console import to_json

WAITING = 10_000
"""Lines that may wait for a slow reader; more are dropped."""
_OWN = {*vars(logging.makeLogRecord({})), "message", "taskName", "color_message"}


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON: time, level, what happened, and its facts."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        told |= {name: value for name, value in vars(record).items() if name not in _OWN}
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        return to_json(told, letters=False, default=str)


class _Dropping(logging.handlers.QueueHandler):
    def enqueue(self, record: logging.LogRecord) -> None:
        with suppress(queue.Full):
            self.queue.put_nowait(record)

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record  # stays in this process: the formatter sees it whole


@contextmanager
def logging_json(stream: TextIO | None = None) -> Iterator[None]:
    """Write what the server and uvicorn log as lines of JSON until the block ends."""
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(JsonLines())
    waiting: queue.Queue[logging.LogRecord] = queue.Queue(WAITING)
    listener = logging.handlers.QueueListener(waiting, handler)
    loggers = [logging.getLogger(name) for name in ("genir.serving", "uvicorn.error")]
    listener.start()
    for logger, level in zip(loggers, (logging.INFO, logging.WARNING), strict=True):
        logger.handlers = [_Dropping(waiting)]
        logger.setLevel(level)
        logger.propagate = False
    try:
        yield
    finally:
        for logger in loggers:
            logger.handlers = []
            logger.propagate = True
        listener.stop()
