"""The process pair: uvicorn in this process, the worker in a child that is started anew if it dies."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
from wsgiref.simple_server import WSGIServer

import uvicorn
from fastapi import FastAPI
from prometheus_client import start_http_server

from app.errors import BadInput
from app.heaps import share_heaps
from app.main import create_app
from app.resting import RESTED
from app.settings import Settings

log = logging.getLogger("earshot.serving")

_STOP_SECONDS = 15
_RESTART_SECONDS = 2
# The worker's threads sleep while they wait for each other, or the pages would wait for them, but not before they have
# looked for some ten microseconds (docs/decisions.md). They share two heaps: glibc's eight a core cost 100 MB.
_WORKER_ENVIRONMENT = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000", "MALLOC_ARENA_MAX": "2"}


class WorkerProcess:
    """The child. Spawned, never forked: torch and fork do not go together.

    It rests by ending with the exit code RESTED, and the next one then holds no torch until it is woken or has a job.
    """

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name="keep-worker", daemon=True)
        self._starting, self._waking = threading.Lock(), threading.Lock()
        # One pipe for all children, one after another: what the last one did not read, the next one does.
        self._wakes, self._wake = os.pipe()
        os.set_blocking(self._wake, False)

    def start(self) -> None:
        """Start the child and keep it running."""
        self._thread.start()

    def wake(self) -> None:
        """Tell the child that somebody is likely to retrain soon. Never waits and never fails."""
        with self._waking, contextlib.suppress(OSError):  # a pipe that is full holds wakes enough
            if not self._stopping.is_set():
                os.write(self._wake, b".")

    def _keep(self) -> None:
        while not self._stopping.is_set():
            try:
                child = self._spawn()
            except OSError as problem:  # no memory or no process left just now
                log.error("the worker cannot be started: %s; it is tried again", problem)
                self._stopping.wait(_RESTART_SECONDS)
                continue
            code = child.wait() if child is not None else None
            if code != RESTED and not self._stopping.is_set():
                log.error("the worker ended with code %s; it is started again", code)
                self._stopping.wait(_RESTART_SECONDS)

    def _spawn(self) -> subprocess.Popen[bytes] | None:
        """The next child; none once it is to stop: stop() sees each child that there is, or there comes none."""
        with self._starting:
            if self._stopping.is_set():
                return None
            # A session of its own: a Ctrl-C in the terminal reaches the web process, which then stops the child.
            self._child = subprocess.Popen(
                [sys.executable, "-m", "app", "worker", "--parent", str(os.getpid())],
                stdin=self._wakes,
                env=_WORKER_ENVIRONMENT | os.environ.copy(),
                start_new_session=True,
            )
            return self._child

    def stop(self) -> None:
        """Ask the child to stop, and wait for it; kill it if it does not."""
        with self._starting, self._waking:
            self._stopping.set()
            child = self._child
        if child is not None and child.poll() is None:
            child.terminate()
            try:
                child.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)
        os.close(self._wakes)
        os.close(self._wake)


def server_config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """uvicorn as Earshot runs it: no access log, and X-Forwarded-For believed from the named proxies only."""
    return uvicorn.Config(
        app, host=settings.host, port=settings.port, log_level=settings.log_level, access_log=False,
        proxy_headers=bool(settings.trusted_proxies), forwarded_allow_ips=settings.trusted_proxies or [],
        timeout_graceful_shutdown=5, server_header=False, log_config=None,
    )  # fmt: skip


def serve_metrics(settings: Settings) -> tuple[WSGIServer, threading.Thread]:
    """Serve Prometheus metrics on an address of their own. Raises BadInput for one that cannot be used."""
    host, _, port = settings.metrics.rpartition(":")
    try:
        return start_http_server(int(port), host or "127.0.0.1")
    except (ValueError, OverflowError, OSError) as problem:
        raise BadInput(f"EARSHOT_METRICS is {settings.metrics!r}, which cannot be served: {problem}") from None


def serve_with_worker(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM; both processes are gone when this returns."""
    share_heaps()
    if settings.metrics:
        serve_metrics(settings)
    # uvicorn raises the signal again when it has ended; by default that would end us before the worker is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    worker = WorkerProcess()
    worker.start()
    try:
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises the Ctrl-C again once it has shut down
            uvicorn.Server(server_config(create_app(settings, wake_worker=worker.wake), settings)).run()
    finally:
        worker.stop()
