"""Everything else that is logged: the standard library's logging, ours and that of libraries, as JSON lines."""

import logging
from datetime import UTC, datetime

import orjson

from llmroute.telemetry.writer import Writer

LOGGER = "llmroute"


class JsonHandler(logging.Handler):
    """Writes records as JSON lines. Fields come from `extra={"fields": {...}}`."""

    def __init__(self, writer: Writer) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """One line a record; whatever JSON cannot say is written as text."""
        try:
            line = {
                "time": datetime.fromtimestamp(record.created, UTC),
                "level": record.levelname.lower(),
                "event": "log",
                "logger": record.name,
                "message": record.getMessage(),
                **getattr(record, "fields", {}),
            }
            if record.exc_info:
                line["exception"] = logging.Formatter().formatException(record.exc_info)
            self._writer.write(orjson.dumps(line, default=str, option=orjson.OPT_APPEND_NEWLINE))
        except Exception:
            self.handleError(record)


class Logging:
    """Installs the handler for the life of the process (or of a test)."""

    def __init__(self, writer: Writer, level: str) -> None:
        self._handler = JsonHandler(writer)
        self._logger = logging.getLogger(LOGGER)
        self._before = self._logger.level
        self._logger.setLevel(level.upper())
        logging.getLogger().addHandler(self._handler)

    def close(self) -> None:
        """Take the handler away again."""
        logging.getLogger().removeHandler(self._handler)
        self._logger.setLevel(self._before)
