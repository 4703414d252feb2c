"""The FastAPI app as Ray Serve's ingress: the same pages, whose adapters are elsewhere."""

from __future__ import annotations

from fastapi import FastAPI

from app import logs
from app.cluster.encoder import same_base
from app.cluster.towers import remote_towers
from app.main import LazyEngine, create_app
from app.opening import open_engine
from app.settings import Settings


class Pages:
    """One replica of the pages. Ray Serve calls ``__serve_build_asgi_app__`` after the constructor."""

    def __init__(self, settings: Settings, fingerprint: str, encoders: tuple[str, str]) -> None:
        """``encoders``: deployment and application of the encoders whose base has that fingerprint."""
        logs.configure(settings)
        self._settings, self._fingerprint, self._encoders = settings, fingerprint, encoders

    def __serve_build_asgi_app__(self) -> FastAPI:
        from ray import serve

        settings, threads = self._settings, self._settings.numeric_threads(self._settings.threads)
        towers = remote_towers(serve.get_deployment_handle(*self._encoders))
        # One slot, which nobody takes: adapters lie with the encoders.
        own = settings.model_copy(update={"slots": 1})
        engine = LazyEngine(settings, lambda: same_base(open_engine(own, threads, towers), self._fingerprint))
        return create_app(settings, engine=engine)
