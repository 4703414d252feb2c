"""Imports and exports over the API: send files, look, run, undo; take everything away."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Request
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.responses import Response

from app.errors import BadInput
from app.services.imports import running, undoing
from app.services.imports.staging import MOST_FILES
from app.web import exports
from app.web import imports as pages
from app.web.access import Me, Shared
from app.web.api.routing import files, room
from app.web.api.shapes import Shape, shown

router = room("", "imports")
# Takes large bodies; main.py gives it a limit of its own.
uploads = room("", "imports")

_FILES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"multipart/form-data": {"schema": {
            "type": "object", "required": ["files"],
            "properties": {"files": {"type": "array", "items": {"type": "string", "format": "binary"}}},
        }}},
    }
}  # fmt: skip


class ImportOut(Shape):
    """One import: what a preview saw, how far it is (``step`` of ``of`` rows), and what became of its rows."""

    model_config = shown(
        id="0123456789abcdef", state="done", name="my_spotify_data.zip", step=2, of=2, active=False, error="", notes=[],
        shift_minutes=0, at=1_700_000_000, preview={}, report={"rows": 2, "taken": 1, "folded": 0, "dropped": 1},
        duplicates=0,
    )  # fmt: skip
    id: str
    state: Literal["reading", "ready", "running", "stopped", "encoding", "done", "failed", "undone"]
    name: str
    step: int
    of: int
    active: bool
    error: str
    notes: list[str]
    shift_minutes: int
    at: int
    preview: dict[str, Any]
    report: dict[str, Any]
    duplicates: int = 0


class ImportsOut(Shape):
    """Your imports, newest first."""

    imports: list[ImportOut]


class RunIn(Shape):
    """How to run it. ``shift_minutes`` moves times whose zone the export does not say."""

    model_config = shown(shift_minutes=-60)
    shift_minutes: Annotated[int, Field(ge=-840, le=840)] = 0


class UndoneOut(Shape):
    """What an undo removed, and how many plays that another import told came back."""

    model_config = shown(listens=120, feedback=2, songs=3, back=0)
    listens: int
    feedback: int
    songs: int
    back: int


class CountedOut(Shape):
    """How many soft duplicates became listens."""

    model_config = shown(counted=4)
    counted: int


def _out(state: Any, listener: str, import_id: str) -> ImportOut:
    return ImportOut.model_validate(pages.one_import(state, listener, import_id))


@uploads.post("/imports", status_code=202, openapi_extra=_FILES)
async def send_files(request: Request, state: Shared, who: Me) -> ImportOut:
    """Send files; they are read for a preview and nothing is taken yet. The format is told by what they hold."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise BadInput("Files are sent as multipart/form-data in the field files.")
    async with request.form(max_files=MOST_FILES + 1, max_fields=10) as form:
        sent = [one for one in form.getlist("files") if isinstance(one, UploadFile) and one.filename]
        import_id = await run_in_threadpool(pages.keep, state, who.id, sent, "api")
    return await run_in_threadpool(_out, state, who.id, import_id)


@router.get("/imports")
def my_imports(state: Shared, who: Me) -> ImportsOut:
    """Your imports."""
    with state.db.read() as db:
        return ImportsOut(imports=[ImportOut.model_validate(pages.facts_of(made)) for made in running.mine(db, who.id)])


@router.get("/imports/{import_id}")
def one_import(state: Shared, who: Me, import_id: str) -> ImportOut:
    """One of your imports; ask again while it is ``active``."""
    return _out(state, who.id, import_id)


@router.post("/imports/{import_id}/run", status_code=202)
def run_import(state: Shared, who: Me, import_id: str, how: RunIn) -> ImportOut:
    """Run a previewed import, or go on with one that stopped."""
    with state.db.write() as db:
        running.start(db, who.id, import_id, how.shift_minutes)
    state.imports.submit(import_id, state.engine)
    return _out(state, who.id, import_id)


@router.post("/imports/{import_id}/stop", status_code=202)
def stop_import(state: Shared, who: Me, import_id: str) -> ImportOut:
    """Stop after the rows that are under way."""
    with state.db.write() as db:
        running.ask_to_stop(db, who.id, import_id)
    return _out(state, who.id, import_id)


@router.post("/imports/{import_id}/undo")
def undo_import(state: Shared, who: Me, import_id: str) -> UndoneOut:
    """Remove exactly what an import brought."""
    gone = pages.take_back(state, who.id, import_id)
    return UndoneOut(**{name: gone[name] for name in ("listens", "feedback", "songs", "back")})


@router.post("/imports/{import_id}/count-duplicates")
def count_import_duplicates(state: Shared, who: Me, import_id: str) -> CountedOut:
    """Make an import's soft duplicates listens after all."""
    with state.db.write() as db:
        return CountedOut(counted=undoing.count_duplicates(db, who.id, import_id))


@router.delete("/imports/{import_id}", status_code=204)
def discard_import(state: Shared, who: Me, import_id: str) -> Response:
    """Remove an import that has brought nothing, or was undone, from the list."""
    with state.db.write() as db:
        running.discard(db, state.imports.staging, who.id, import_id)
    return Response(status_code=204)


@router.get("/imports/{import_id}/report.csv", response_class=Response, responses=files("text/csv"))
def import_report(state: Shared, who: Me, import_id: str) -> Response:
    """Every row that was not taken, with its reason."""
    return pages.report(state, who, import_id)


@router.get("/export/listens.jsonl", response_class=Response, responses=files("application/jsonl"))
def export_jsonl(state: Shared, who: Me) -> Response:
    """Your listens in ListenBrainz' shape."""
    return exports.jsonl(state, who)


@router.get("/export/listens.csv", response_class=Response, responses=files("text/csv"))
def export_csv(state: Shared, who: Me) -> Response:
    """Your listens as a table; cells are no formulas."""
    return exports.csv(state, who)


@router.get("/export/account.zip", response_class=Response, responses=files("application/zip"))
def export_account(state: Shared, who: Me) -> Response:
    """Everything of yours, adapters too."""
    return exports.account(state, who)
