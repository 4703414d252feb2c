"""The id of the request that is being answered; imports nothing, for those who only write log lines."""

from __future__ import annotations

from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="")
