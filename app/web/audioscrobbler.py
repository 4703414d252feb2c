"""Audioscrobbler 2.0, as Last.fm's clients speak it: one address, methods by name, JSON or XML."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from app.errors import BadInput, Conflict, EarshotError, NotFound, TooBusy, TooManyTries
from app.services import audioscrobbler_format as wire
from app.services import catalogue, listens, playing, submitting, tokens
from app.services.audioscrobbler_format import ScrobblerError
from app.services.tokens import Holder
from app.web.access import Me, Shared
from app.web.limits import PLAYER
from app.web.rendering import State, page, state_of
from app.web.tokens_access import seen

log = logging.getLogger("earshot")
router = APIRouter()

_MOST_BYTES = 2_000_000
Tree = dict[str, Any]


# No transport limit: the body is read up to the limit here, beyond which the answer is error 6.
@router.api_route("/2.0/", methods=["GET", "POST"], max_body_size=2**62)
@router.api_route("/2.0", methods=["GET", "POST"], max_body_size=2**62)
async def audioscrobbler(request: Request) -> Response:
    """Every method of the protocol."""
    form: Mapping[str, str] = {}
    try:
        form = wire.read_form(request.url.query, await _body(request))
        return _write(form, await run_in_threadpool(_call, state_of(request), _client(request), form))
    except ScrobblerError as problem:
        return _failed(form, problem)
    except TooBusy as problem:
        return _failed(form, ScrobblerError(16, str(problem), 503))
    except TooManyTries as problem:
        return _failed(form, ScrobblerError(29, str(problem), 503), problem.retry_after or 10)
    except (BadInput, Conflict, NotFound) as problem:
        return _failed(form, ScrobblerError(6, str(problem), 400))
    except EarshotError as problem:
        return _failed(form, ScrobblerError(8, str(problem), problem.status))
    except Exception as problem:
        log.error("a bug in Audioscrobbler's API", exc_info=problem)
        return _failed(form, ScrobblerError(11, "Something went wrong on our side.", 500))


async def _body(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > _MOST_BYTES:
            raise wire.bad_parameters(f"The request is larger than {_MOST_BYTES:,} bytes.")
        parts.append(part)
    return b"".join(parts)


def _client(request: Request) -> str:
    return request.client.host if request.client else ""


def _write(form: Mapping[str, str], tree: Tree) -> Response:
    if form.get("format", "").casefold() == "json":
        return JSONResponse(tree)
    return Response(wire.as_xml(tree), media_type="text/xml")


def _failed(form: Mapping[str, str], problem: ScrobblerError, wait: int = 10) -> Response:
    headers = {"Retry-After": str(wait)} if problem.status == 503 else {}
    message = str(problem).encode("utf-8", "backslashreplace").decode()
    if form.get("format", "").casefold() == "json":
        return JSONResponse({"error": problem.code, "message": message}, problem.status, headers)
    return Response(wire.error_xml(problem.code, message), problem.status, headers, media_type="text/xml")


def _call(state: State, client: str, form: Mapping[str, str]) -> Tree:
    key = form.get("sk") or f"{client} {form.get('username', '')}"
    if not state.rate.take(key).allowed:
        raise ScrobblerError(29, "Too many requests; please try again in a moment.", 503)
    method = _METHODS.get(form.get("method", "").casefold())
    if method is None:
        raise ScrobblerError(3, "Invalid method: no such method in this package.", 400)
    if method is _get_mobile_session:
        state.limiter.count(PLAYER, address=client, account=form.get("username", ""))
    return method(state, form)


# -- coming in --------------------------------------------------------------------------------------


def _session(name: str, key: str) -> Tree:
    return {"session": {"name": name, "key": key, "subscriber": "0"}}


def _get_mobile_session(state: State, form: Mapping[str, str]) -> Tree:
    """A name, with one of its tokens as the password, or with authToken = md5(name + md5(token))."""
    name, password, digest = form.get("username", ""), form.get("password", ""), form.get("authToken", "")
    if not name or not (password or digest):
        raise wire.bad_parameters("username, and a token as password or authToken, are needed.")
    with state.db.read() as db:
        holder = tokens.whose(db, password) if password else tokens.whose_session(db, digest.casefold())
    if seen(state, holder) is None or holder is None or holder.who.name.casefold() != name.casefold():
        raise ScrobblerError(4, "Name and token do not fit together. The password here is one of your API tokens.", 403)
    key = tokens.session_key(holder.who.name, password) if password else digest.casefold()
    return _session(holder.who.name, key)


def _get_token(state: State, form: Mapping[str, str]) -> Tree:
    with state.db.write() as db:
        return {"token": tokens.open_request(db)}


def _get_session(state: State, form: Mapping[str, str]) -> Tree:
    try:
        with state.db.write() as db:
            taken = tokens.take_session(db, form.get("token", ""))
    except NotFound:
        raise ScrobblerError(15, "This token has expired or never was.", 403) from None
    if taken is None:
        raise ScrobblerError(14, "This token has not been authorised yet.", 403)
    return _session(*taken)


def _holder(state: State, form: Mapping[str, str]) -> Holder:
    with state.db.read() as db:
        holder = tokens.whose_session(db, form.get("sk", ""))
    if seen(state, holder) is None or holder is None:
        raise ScrobblerError(9, "Invalid session key. Please log in again.", 403)
    if "submit" not in holder.scopes:
        raise ScrobblerError(4, f"The token {holder.name!r} may not submit.", 403)
    return holder


# -- songs ------------------------------------------------------------------------------------------


def _scrobble(state: State, form: Mapping[str, str]) -> Tree:
    holder = _holder(state, form)
    sent = wire.read_scrobbles(form)
    plays = [one.play for one in sent if one.play is not None]
    with state.db.write() as db:
        taken = submitting.submit(db, holder.who.id, plays, f"Audioscrobbler: {holder.name}")
    state.later.add(state, [one.song_id for one in taken if one.new_song])
    return wire.scrobbles_tree(sent)


def _update_now_playing(state: State, form: Mapping[str, str]) -> Tree:
    holder = _holder(state, form)
    play = wire.read_playing(form)
    with state.db.write() as db:
        playing.play_now(db, holder.who.id, play, f"Audioscrobbler: {holder.name}")
    return wire.playing_tree(form)


def _love(state: State, form: Mapping[str, str]) -> Tree:
    """A loved song joins the catalogue if need be."""
    holder, play = _holder(state, form), wire.read_playing(form)
    with state.db.write() as db:
        song, added = catalogue.find_or_add(db, play.artist, play.title, source="log")
        listens.say(db, holder.who.id, song.id, "love")
    state.later.add(state, [song.id] if added else [])
    return {}


def _unlove(state: State, form: Mapping[str, str]) -> Tree:
    """Only love is taken back: any other verdict stays."""
    holder, play = _holder(state, form), wire.read_playing(form)
    with state.db.write() as db:
        song = catalogue.find(db, play.artist, play.title)
        if song is not None and listens.verdicts(db, holder.who.id).get(song.id) == "love":
            listens.say(db, holder.who.id, song.id, "clear")
    return {}


_METHODS: dict[str, Callable[[State, Mapping[str, str]], Tree]] = {
    "auth.getmobilesession": _get_mobile_session,
    "auth.gettoken": _get_token,
    "auth.getsession": _get_session,
    "track.scrobble": _scrobble,
    "track.updatenowplaying": _update_now_playing,
    "track.love": _love,
    "track.unlove": _unlove,
}


# -- the page on which a listener lets a program in -------------------------------------------------


@router.get("/api/auth/")
def approve_form(request: Request, state: Shared, who: Me, token: str = "") -> Response:
    with state.db.read() as db:
        waiting = tokens.request_of(db, token)
    return page(request, "approve.html", token=token, done=waiting.listener_id is not None)


@router.post("/api/auth/")
def approve(
    request: Request, state: Shared, who: Me, token: Annotated[str, Form()] = "", name: Annotated[str, Form()] = "",
    scopes: Annotated[list[str] | None, Form()] = None,
) -> Response:  # fmt: skip
    with state.db.write() as db:
        tokens.approve(db, who.id, token, name, scopes or [])
    return page(request, "approve.html", token=token, done=True)
