"""The FastAPI app as Ray Serve's ingress: the same pages, whose adapters are elsewhere."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from app import logs
from app.cluster.towers import remote_towers
from app.main import LazyEngine, create_app, open_engine
from app.settings import Settings


class Pages:
    """One replica of the pages. Ray Serve calls ``__serve_build_asgi_app__`` after the constructor."""

    def __init__(self, settings: Settings, encoders: Any) -> None:
        """``encoders``: the handle of encoder.py's deployment."""
        logs.configure(settings)
        self._settings, self._encoders = settings, encoders

    def __serve_build_asgi_app__(self) -> FastAPI:
        settings, towers = self._settings, remote_towers(self._encoders)
        # One slot, which nobody takes: adapters lie with the encoders.
        own = settings.model_copy(update={"slots": 1})
        engine = LazyEngine(settings, lambda: open_engine(own, settings.numeric_threads(settings.threads), towers))
        return create_app(settings, engine=engine)
