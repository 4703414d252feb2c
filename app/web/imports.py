"""Bring listening along: drop files, see what they hold, run, see what became of every row, undo."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Form, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.responses import FileResponse, JSONResponse, Response

from app.errors import BadInput, EarshotError
from app.services import chores
from app.services.imports import running, undoing
from app.services.imports.detecting import READ_HERE
from app.services.imports.reporting import as_csv
from app.services.imports.staging import MOST_FILES
from app.services.text import show
from app.tables_imports import Import
from app.web.access import Me, Shared
from app.web.rendering import State, go, page, wants_json

if TYPE_CHECKING:
    from app.lm.engine import Engine

log = logging.getLogger("earshot")
router = APIRouter(prefix="/import")
# The one route that takes large bodies; main.py gives it a limit of its own.
uploads = APIRouter(prefix="/import")

_PENDING = ("reading", "running", "encoding")


def facts_of(made: Import) -> dict[str, Any]:
    """What pages and scripts are told of an import."""
    return {
        "id": made.id, "state": made.state, "name": made.name, "step": made.step, "of": made.of,
        "preview": made.preview, "report": made.report, "error": made.error,
        "active": made.state in _PENDING and not made.error,
        "notes": made.brought.get("notes", []), "shift_minutes": made.shift_minutes, "at": made.created_at,
    }  # fmt: skip


def one_import(state: State, listener: str, import_id: str) -> dict[str, Any]:
    """The same of one of a listener's own, with how many soft duplicates do not count. Raises NotFound."""
    with state.db.read() as db:
        made = undoing.own_import(db, listener, import_id)
        return facts_of(made) | {"duplicates": undoing.duplicates(db, import_id)}


@router.get("")
def mine(request: Request, state: Shared, who: Me) -> Response:
    with state.db.read() as db:
        rows = [facts_of(made) for made in running.mine(db, who.id)]
    most = state.settings.max_import_bytes
    return page(request, "imports.html", rows=rows, read_here=READ_HERE, most=most, error="")


@uploads.post("")
async def upload(request: Request, state: Shared, who: Me) -> Response:
    """Keep the files and read them. The body is looked at only here, after it is known who sends it."""
    async with request.form(max_files=MOST_FILES + 1, max_fields=10) as form:
        files = [one for one in form.getlist("files") if isinstance(one, UploadFile) and one.filename]
        try:
            import_id = await run_in_threadpool(keep, state, who.id, files)
        except BadInput as problem:
            if wants_json(request):
                raise
            return await run_in_threadpool(_again, request, state, who, problem)
    if wants_json(request):
        return JSONResponse({"id": import_id, "href": f"/import/{import_id}"}, 202)
    return go(f"/import/{import_id}")


def _again(request: Request, state: State, who: Any, problem: BadInput) -> Response:
    with state.db.read() as db:
        rows = [facts_of(made) for made in running.mine(db, who.id)]
    return page(
        request, "imports.html", problem.status, rows=rows, read_here=READ_HERE,
        most=state.settings.max_import_bytes, error=str(problem),
    )  # fmt: skip


def keep(state: State, listener: str, files: list[UploadFile], way: str = "web") -> str:
    """Stage files as a new import and read them in the background; gives its id. Raises BadInput."""
    staging = state.imports.staging
    named = [(_plain_name(one.filename or ""), one.file) for one in files]
    with state.db.write() as db:
        running.discard_staged(db, staging, listener)
        made = running.begin(db, listener, way, ", ".join(name for name, _ in named))
        import_id = made.id
    try:
        kept = staging.keep(listener, import_id, named, state.settings.max_import_bytes)
        with state.db.write() as db:
            undoing.own_import(db, listener, import_id).files = kept  # not there: the account was deleted meanwhile
    except BaseException:
        staging.remove(listener, import_id)
        with suppress(EarshotError), state.db.write() as db:  # a disk that is full for the files may be so for the row
            running.discard(db, staging, listener, import_id)
        raise
    state.imports.submit(import_id, state.engine)
    return import_id


def _plain_name(name: str) -> str:
    """A file's name for reports: its last part, fit to be shown."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1][:100]
    return show(last, 100)[1:-1] or "a file"


@router.get("/{import_id}")
def one(request: Request, state: Shared, who: Me, import_id: str) -> Response:
    facts = one_import(state, who.id, import_id)
    if wants_json(request):
        return JSONResponse(facts)
    return page(request, "import.html", made=facts)


@router.post("/{import_id}/run")
def run(state: Shared, who: Me, import_id: str, shift_hours: Annotated[str, Form()] = "") -> Response:
    with state.db.write() as db:
        running.start(db, who.id, import_id, _minutes(shift_hours))
    state.imports.submit(import_id, state.engine)
    return go(f"/import/{import_id}")


def _minutes(hours: str) -> int | None:
    if not hours.strip():
        return None
    try:
        return round(float(hours) * 60)
    except (ValueError, OverflowError):
        raise BadInput(f"{show(hours)} is no number of hours.") from None


@router.post("/{import_id}/stop")
def stop(state: Shared, who: Me, import_id: str) -> Response:
    with state.db.write() as db:
        running.ask_to_stop(db, who.id, import_id)
    return go(f"/import/{import_id}")


@router.post("/{import_id}/undo")
def undo(state: Shared, who: Me, import_id: str) -> Response:
    take_back(state, who.id, import_id)
    return go(f"/import/{import_id}")


def take_back(state: State, listener: str, import_id: str) -> dict[str, Any]:
    """Undo an import, with the files of the adapter versions that it brought. Raises NotFound or Conflict."""
    with state.db.write() as db:
        gone = undoing.undo(db, listener, import_id)
    if gone["versions"] or gone["removed"]:
        try:
            _remove_files(state.engine.get(), listener, gone)
        except EarshotError as problem:  # the rows are gone: to say that nothing was done would be wrong
            log.warning("an import was undone, but not all of its files: %s", problem)
            with state.db.write() as db:
                chores.ask(db, "shred")
    return gone


def _remove_files(engine: Engine, listener: str, gone: dict[str, Any]) -> None:
    engine.vectors.remove(gone["removed"])
    for version in gone["versions"]:
        engine.store.remove(listener, version)
        engine.forget(listener)


@router.post("/{import_id}/discard")
def discard(state: Shared, who: Me, import_id: str) -> Response:
    with state.db.write() as db:
        running.discard(db, state.imports.staging, who.id, import_id)
    return go("/import")


@router.post("/{import_id}/count-duplicates")
def count_duplicates(state: Shared, who: Me, import_id: str) -> Response:
    """Soft duplicates become listens after all."""
    with state.db.write() as db:
        undoing.count_duplicates(db, who.id, import_id)
    return go(f"/import/{import_id}")


@router.get("/{import_id}/report.csv")
def report(state: Shared, who: Me, import_id: str) -> Response:
    with state.db.read() as db:
        made = undoing.own_import(db, who.id, import_id)
    path = state.imports.staging.report(who.id, made.id)
    called = f"earshot-import-{made.id}.csv"
    if path.is_file():
        return FileResponse(path, media_type="text/csv", filename=called)
    empty = {"Content-Disposition": f'attachment; filename="{called}"'}
    return Response(as_csv((), header=True), media_type="text/csv", headers=empty)
