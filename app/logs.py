"""How log lines are written: for a person, or as JSON for a collector. Each has the id of the request it belongs to."""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from types import TracebackType

from app.settings import Settings
from app.web.marks import request_id

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class _Quiet(logging.Formatter):
    """Of an exception, where it came from and of which kind it is; not its words, which may hold a title or a name."""

    def format(self, record: logging.LogRecord) -> str:
        """The line. What another formatter may have left of the exception on the record is not taken over."""
        record.exc_text = None
        return super().format(record)

    def formatException(self, ei: ExcInfo) -> str:  # noqa: N802  (logging's own name)
        """Frames and kinds of an exception and of those that led to it; of the system's errors also their name."""
        lines, seen = [], set()
        problem, trace = ei[1], ei[2]
        while problem is not None and id(problem) not in seen:
            seen.add(id(problem))
            frames = "".join(traceback.format_tb(trace))
            what = f"{type(problem).__module__}.{type(problem).__qualname__}"
            name = f" ({os.strerror(problem.errno)})" if isinstance(problem, OSError) and problem.errno else ""
            lines.append(f"Traceback (most recent call last):\n{frames}{what}{name}")
            problem = problem.__cause__ or (None if problem.__suppress_context__ else problem.__context__)
            trace = problem.__traceback__ if problem is not None else None
        return "\n\nThe above came from:\n\n".join(lines)


class AsJson(_Quiet):
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


class AsText(_Quiet):
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
