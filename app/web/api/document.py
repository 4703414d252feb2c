"""The API's own description."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from app.web.api.routing import ROOT, document

router = APIRouter()


@router.get(f"{ROOT}/openapi.json", include_in_schema=False)
def openapi(request: Request) -> dict[str, Any]:
    return document(request.app)
