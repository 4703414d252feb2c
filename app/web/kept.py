"""Lists that were made: what was asked, and what came of it; each as a file."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.services import kept, playlist_files, retraining
from app.services.playlist_files import File
from app.tables import KeptList
from app.web.access import Me, Shared
from app.web.recommend import Question
from app.web.rendering import go, page

router = APIRouter(prefix="/lists")

UNWANTED = ("dislike", "not_now")


@router.get("")
def lists(request: Request, state: Shared, who: Me) -> Response:
    with state.db.read() as db:
        return page(request, "lists.html", lists=kept.overview(db, who.id))


@router.get("/{list_id}")
def one(request: Request, state: Shared, who: Me, list_id: str) -> Response:
    with state.db.read() as db:
        shown = kept.own(db, who.id, list_id)
        question = Question(shown.mode, shown.wish, shown.adventure)
        own = any(version.id == shown.version for version in retraining.versions(db, who.id))
        return page(request, "list.html", list=shown, songs=kept.opened(db, shown), question=question, own=own)


@router.post("/{list_id}/delete")
def remove(state: Shared, who: Me, list_id: str) -> Response:
    with state.db.write() as db:
        kept.remove(db, who.id, list_id)
    return go("/lists")


@router.get("/{list_id}/{kind}")
def export(state: Shared, who: Me, list_id: str, kind: str) -> Response:
    """The list as jspf, xspf or m3u, without what was disliked or put off."""
    with state.db.read() as db:
        shown = kept.own(db, who.id, list_id)
        songs = [came.song for came in kept.opened(db, shown) if came.verdict not in UNWANTED]
        return attachment(playlist_files.write(db, kind, called(shown), shown.created_at, songs))


def called(shown: KeptList) -> str:
    """A list's name: the wish, else its kind."""
    return shown.wish or ("Songs to come back to" if shown.mode == "familiar" else "Songs to discover")


def attachment(file: File) -> Response:
    """A file to save, its name safe in a header whatever characters it has (RFC 6266)."""
    name = quote(file.name.encode("utf-8", "replace"), safe="")
    headers = {"Content-Disposition": f"attachment; filename=\"earshot\"; filename*=UTF-8''{name}"}
    return Response(file.content, media_type=file.media_type, headers=headers)
