"""How log lines are written: for a person, or as JSON for a collector. Each has the id of the request it belongs to."""

from __future__ import annotations

import json
import logging
import sys

from app.settings import Settings
from app.web.traffic import request_id


class AsJson(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and the request's id and a traceback if there are any."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        facts = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"), "level": record.levelname.lower(),
            "logger": record.name, "message": record.getMessage(),
        }  # fmt: skip
        if mark := request_id.get():
            facts["request"] = mark
        if record.exc_info:
            facts["traceback"] = self.formatException(record.exc_info)
        return json.dumps(facts, ensure_ascii=True)


class AsText(logging.Formatter):
    """A line for a person."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        mark = request_id.get()
        return super().format(record) + (f" [{mark}]" if mark else "")


# These may speak of addresses and content.
_QUIET = ("alembic", "httpx", "httpx2", "httpcore", "httpcore2", "multipart", "python_multipart")


def configure(settings: Settings) -> None:
    """Send every log line to stderr in the chosen form and from the chosen level on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(AsJson() if settings.log_format == "json" else AsText())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
