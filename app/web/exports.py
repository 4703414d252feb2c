"""Take one's listening and taste away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import BinaryIO

from fastapi import APIRouter, Request
from sqlalchemy.orm import Session
from starlette.background import BackgroundTask
from starlette.responses import Response, StreamingResponse

from app.services import exporting
from app.web.access import Me, Shared
from app.web.rendering import State, page

router = APIRouter(prefix="/export")

_PIECE = 1 << 18


def _headers(name: str) -> dict[str, str]:
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    stem, _, ending = name.partition(".")
    return {"Content-Disposition": f'attachment; filename="{stem}-{today}.{ending}"'}


@router.get("")
def choose(request: Request, who: Me) -> Response:
    return page(request, "export.html")


def _stream(state: State, listener: str, make: Callable[[Session, str], Iterator[bytes]]) -> Iterator[bytes]:
    with state.db.read() as db:
        yield from make(db, listener)


@router.get("/listens.jsonl")
def jsonl(state: Shared, who: Me) -> Response:
    parts = _stream(state, who.id, exporting.jsonl)
    return StreamingResponse(parts, media_type="application/jsonl", headers=_headers("earshot-listens.jsonl"))


@router.get("/listens.csv")
def csv(state: Shared, who: Me) -> Response:
    parts = _stream(state, who.id, exporting.csv_lines)
    return StreamingResponse(parts, media_type="text/csv; charset=utf-8", headers=_headers("earshot-listens.csv"))


@router.get("/account.zip")
def account(state: Shared, who: Me) -> Response:
    """Everything, adapters too."""
    engine, settings = state.engine.get(), state.settings
    with state.db.read() as db:
        made = exporting.account_zip(db, engine, state.kinds, who.id, settings.data / "exports", settings.music)
    return StreamingResponse(
        _pieces(made), media_type="application/zip", headers=_headers("earshot-account.zip"),
        background=BackgroundTask(made.close),
    )  # fmt: skip


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while piece := file.read(_PIECE):
            yield piece
