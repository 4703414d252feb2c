"""Wire everything: settings, database, engine, pages. ``create_app`` is what `earshot serve` runs."""

from __future__ import annotations

import errno
import functools
import gc
import itertools
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.staticfiles import StaticFiles
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from app.db import Database
from app.errors import BadInput, BaseProblem, CannotWrite, EarshotError, NotFound
from app.heaps import give_back
from app.opening import KINDS, open_engine
from app.services import examining
from app.services.imports.runner import Runner
from app.services.imports.staging import Staging
from app.services.remembering import Remembered
from app.settings import Settings
from app.web import (
    accounts,
    admin,
    audioscrobbler,
    blends,
    browse,
    exports,
    friends,
    health,
    home,
    imports,
    kept,
    listenbrainz,
    listens,
    live,
    own_account,
    playlists,
    recommend,
    settings_page,
    songs,
    taste,
    tokens,
)
from app.web.access import enforce
from app.web.api import document, importing
from app.web.limits import Limiter
from app.web.rendering import STATIC, State, answer_error
from app.web.security import Guard
from app.web.traffic import Traffic, route_of

if TYPE_CHECKING:
    from app.lm.engine import Engine

log = logging.getLogger("earshot")

_FIRST_PAGE_SECONDS = 1.0  # whoever waits for the server to start sees its first page before torch takes the processor

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)

# One a line, so that two changes that add a room do not meet.
ROOMS = (
    home,
    accounts,
    listens,
    songs,
    browse,
    recommend,
    kept,
    playlists,
    taste,
    friends,
    blends,
    settings_page,
    own_account,
    admin,
    health,
    imports,
    exports,
    live,
    tokens,
    listenbrainz,
    audioscrobbler,
)


class LazyEngine:
    """The engine, loaded in the background so that the first page does not wait for torch."""

    def __init__(self, settings: Settings, opener: Callable[[], Engine] | None = None) -> None:
        """``opener`` loads it in place of ``open_engine``."""
        self._open = opener or (lambda: open_engine(settings, settings.numeric_threads(settings.threads)))
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._stopping = threading.Event()

    def warm(self, db: Database, after: float) -> threading.Timer:
        """Load in so many seconds unless that is cancelled; a problem is logged, and shown to who asks for a list.

        So is what is damaged: vectors of the catalogue, and live adapters.
        """

        def load() -> None:
            try:
                engine = self.get()
                for found in itertools.chain([examining.vectors(engine)], examining.adapters(db, engine)):
                    if self._stopping.is_set():
                        return
                    if not found.is_well:
                        log.error("%s: %s %s", found.what, found.said, found.mend)
            except (EarshotError, SQLAlchemyError, OSError) as problem:
                log.error("%s", problem)

        thread = threading.Timer(after, load)
        thread.name, thread.daemon = "load-base", True
        thread.start()
        return thread

    def stop(self, warming: threading.Timer) -> None:
        """Load no more, and let what is under way end: a process that ends amid torch's loading is aborted by it."""
        self._stopping.set()
        warming.cancel()
        warming.join()

    @property
    def ready(self) -> bool:
        """Whether the base is loaded."""
        return self._engine is not None

    def get(self) -> Engine:
        """The engine, waiting for it if need be. Raises a BaseProblem."""
        with self._lock:
            if self._engine is None:
                self._engine = self._open()
                # What is loaded now stays for good: looking through it again and again held up one answer in a hundred.
                gc.collect()
                gc.freeze()
                give_back()
            return self._engine


# No pages about the API by FastAPI itself, and nothing told to anybody.
_BARE: dict[str, Any] = {
    "docs_url": None, "redoc_url": None, "openapi_url": None,
    "telemetry": {"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
}  # fmt: skip


@functools.cache
def _rooms(max_body_bytes: int, max_import_bytes: int) -> FastAPI:
    """Every route, shared by all apps of this process.

    FastAPI works out at a route's first request what it takes: half a second for all, which each test's app would pay.
    """
    rooms = FastAPI(max_body_size=max_body_bytes, dependencies=[Depends(enforce)], **_BARE)
    for room in ROOMS:
        rooms.include_router(room.router)
    for api_room in (*document.ROOMS, document.router):
        large = api_room in (importing.uploads,)
        rooms.include_router(api_room, max_body_size=max_import_bytes if large else None)
    rooms.include_router(listenbrainz.router, prefix="/apis/listenbrainz")
    rooms.include_router(imports.uploads, max_body_size=max_import_bytes)
    return rooms


def create_app(
    settings: Settings, *, warm: bool = True, engine: LazyEngine | None = None,
    wake_worker: Callable[[], None] = lambda: None,
) -> FastAPI:  # fmt: skip
    """The web process. ``warm`` loads the base soon after the start; ``engine`` is the settings' own unless given.

    wake_worker: tells the worker, where it is this process's child, that somebody is likely to retrain soon.
    """
    db = Database(settings.url)
    engine = engine or LazyEngine(settings)
    runner = Runner(db, Staging(settings.data / "imports"), KINDS.song_text)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        warming = engine.warm(db, _FIRST_PAGE_SECONDS) if warm else None
        if not settings.https and settings.host not in ("127.0.0.1", "localhost", "::1"):
            log.warning(
                "plain-http: serving %s without HTTPS; passwords travel readable. See README, HTTPS.", settings.host
            )
        runner.resume(app.state.earshot.engine)
        yield
        if warming is not None:
            engine.stop(warming)
        runner.close()
        app.state.earshot.later.stop()
        db.close()

    rooms = _rooms(settings.max_body_bytes, settings.max_import_bytes)
    app = FastAPI(
        title="Earshot",
        lifespan=lifespan,
        max_body_size=settings.max_body_bytes,
        dependencies=[Depends(enforce)],
        **_BARE,
    )
    app.state.earshot = State(settings, db, engine, KINDS, Limiter(), runner, Remembered(db), wake_worker)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.router.routes.extend(rooms.router.routes)
    app.dependency_overrides = rooms.dependency_overrides  # where the routes look for them
    app.add_middleware(Traffic, most=settings.max_requests, body_seconds=settings.body_seconds)
    app.add_middleware(Guard, settings=settings)
    _map_errors(app)
    return app


def _map_errors(app: FastAPI) -> None:
    """The one place where errors become HTTP."""

    @app.exception_handler(EarshotError)
    def named(request: Request, problem: EarshotError) -> Response:
        if isinstance(problem, BaseProblem):
            log.error("%s", problem)
        return answer_error(request, problem)

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, problem: RequestValidationError) -> Response:
        first = problem.errors()[0]
        place = ".".join(str(part) for part in first.get("loc", ())[1:]) or "the request"
        return answer_error(request, BadInput(f"{place}: {first.get('msg', 'is not valid')}"))

    @app.exception_handler(HTTPException)
    def http(request: Request, problem: HTTPException) -> Response:
        error = NotFound("There is no such page.") if problem.status_code == 404 else EarshotError(str(problem.detail))
        error.status = problem.status_code
        return answer_error(request, error)

    @app.exception_handler(OSError)
    def no_room(request: Request, problem: OSError) -> Response:
        """An upload or an export that the disk has no room for; every other OSError is a bug."""
        if problem.errno not in _NO_ROOM:
            raise problem
        return answer_error(request, CannotWrite(f"The disk cannot be written ({problem.strerror}); nothing was kept."))

    @app.exception_handler(Exception)
    def bug(request: Request, problem: Exception) -> Response:
        log.error("a bug on %s", route_of(request.scope), exc_info=problem)
        return answer_error(request, EarshotError("Something went wrong on our side. It is written in the log."))
