"""JSON-lines log on standard output, written in a thread so that slow readers block no request."""

import logging
import logging.handlers
import queue
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, TextIO

from genir.console import to_json

MAX_QUEUED_RECORDS = 10_000
"""Maximum number of lines that wait for a slow reader; further ones are dropped."""
_OWN = {*vars(logging.makeLogRecord({})), "message", "taskName", "color_message"}


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON: time, level, event, and extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _OWN}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return to_json(line, letters=False, default=str)


class _Dropping(logging.handlers.QueueHandler):
    def enqueue(self, record: logging.LogRecord) -> None:
        with suppress(queue.Full):
            self.queue.put_nowait(record)

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record  # no pickling within one process: keep the record for the formatter


@contextmanager
def logging_json(stream: TextIO | None = None) -> Iterator[None]:
    """Write the logs of genir and uvicorn as JSON lines until the block ends."""
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(JsonLines())
    waiting: queue.Queue[logging.LogRecord] = queue.Queue(MAX_QUEUED_RECORDS)
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
