"""ListenBrainz' API, as players speak it. main.py serves it under both prefixes that clients use."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from app.errors import BadInput, Conflict, EarshotError, NotFound
from app.services import listenbrainz_format as wire
from app.services import listens, playing, reading_back, submitting, tokens
from app.services.sharing import visible_by_name
from app.services.text import show
from app.services.tokens import Holder
from app.tables import Listener
from app.web.access import Shared
from app.web.rendering import State, state_of
from app.web.tokens_access import may, seen, sent_token

log = logging.getLogger("earshot")

_COUNT, _MOST_COUNT = 25, 1_000

Submits = Annotated[Holder, Depends(may("submit"))]
Reads = Annotated[Holder, Depends(may("read"))]


def _failed(code: int, message: str) -> Response:
    safe = message.encode("utf-8", "backslashreplace").decode()
    return JSONResponse({"code": code, "error": safe}, code)


def _answer(problem: Exception) -> Response:
    """An error as ListenBrainz says it: what is wrong with the request is always 400, also a body too large."""
    if isinstance(problem, BadInput | Conflict):
        return _failed(400, str(problem))
    if isinstance(problem, EarshotError):
        answer = _failed(problem.status, str(problem))
        if problem.retry_after:
            answer.headers["Retry-After"] = str(problem.retry_after)
        return answer
    if isinstance(problem, RequestValidationError):
        first = problem.errors()[0]
        return _failed(400, f"{first['loc'][-1]}: {first['msg']}")
    if isinstance(problem, HTTPException):
        return _failed(400 if problem.status_code == 413 else problem.status_code, str(problem.detail))
    log.error("a bug in ListenBrainz' API", exc_info=problem)
    return _failed(500, "Something went wrong on our side.")


class SpeaksListenBrainz(APIRoute):
    """Errors in ListenBrainz' form, its rate headers on every answer, and 503 (never 429) when there are too many."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the route."""
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            state = state_of(request)
            host = request.client.host if request.client else ""
            allowance = state.rate.take(sent_token(request) or host)
            if not allowance.allowed:
                answer = _failed(503, "Too many requests; please try again in a moment.")
                answer.headers["Retry-After"] = str(allowance.reset_in)
            else:
                try:
                    answer = await handle(request)
                except Exception as problem:
                    answer = _answer(problem)
            answer.headers.update(allowance.headers())
            return answer

        return handler


# No transport limit here: the body is read up to ListenBrainz' own limit, beyond which the answer is 400.
router = APIRouter(prefix="/1", route_class=SpeaksListenBrainz, max_body_size=2**62)


async def body_of(request: Request) -> bytes:
    """The body up to the limit. Raises BadInput beyond it."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > wire.MOST_BYTES:
            raise BadInput(f"The request is larger than {wire.MOST_BYTES:,} bytes.")
        parts.append(part)
    return b"".join(parts)


Body = Annotated[bytes, Depends(body_of)]


@router.post("/submit-listens")
def submit_listens(state: Shared, holder: Submits, body: Body, return_msid: str = "") -> dict[str, Any]:
    kind, plays = wire.read_submission(body)
    source = f"ListenBrainz: {holder.name}"
    if kind == "playing_now":
        with state.db.write() as db:
            playing.play_now(db, holder.who.id, plays[0], source)
        return {"status": "ok"}
    with state.db.write() as db:
        taken = submitting.submit(db, holder.who.id, plays, source)
    state.later.add(state, [one.song_id for one in taken if one.new_song])
    if return_msid.casefold() == "true" and len(taken) == 1:
        return {"status": "ok", "recording_msid": wire.msid_of(taken[0].song_id)}
    return {"status": "ok"}


@router.post("/delete-listen")
def delete_listen(state: Shared, holder: Submits, body: Body) -> dict[str, str]:
    found = _object(body)
    at, msid = found.get("listened_at"), found.get("recording_msid")
    song_id = wire.song_of_msid(msid) if isinstance(msid, str) else None
    if isinstance(at, bool) or not isinstance(at, int) or abs(at) > 2**53 or song_id is None:
        raise BadInput("listened_at (whole seconds) and recording_msid (one of ours) say which listen.")
    with state.db.write() as db:
        reading_back.remove_at(db, holder.who.id, song_id, at)
    return {"status": "ok"}


def _object(body: bytes) -> dict[str, Any]:
    found = wire.read_json(body)
    if not isinstance(found, dict):
        raise BadInput("The JSON document is no object.")
    return found


@router.get("/validate-token")
def validate_token(request: Request, state: Shared, token: str = "") -> dict[str, Any]:
    sent = sent_token(request)
    if sent is None and not token:
        raise BadInput("You need to provide an Authorization token.")
    with state.db.read() as db:
        holder = tokens.whose(db, sent or token)
    if seen(state, holder) is None or holder is None:
        return {"code": 200, "message": "Token invalid.", "valid": False}
    return {"code": 200, "message": "Token valid.", "valid": True, "user_name": holder.who.name}


# -- reads ------------------------------------------------------------------------------------------


def _whole(text: str | None, name: str) -> int | None:
    if text is None or text == "":
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 15:
        raise BadInput(f"{name} is a whole number from 0 on, not {show(text)}.")
    return int(text)


def _whose(state: State, holder: Holder, name: str) -> Listener:
    """The listener of that name, if the token's holder may see what they play."""
    with state.db.read() as db:
        found = visible_by_name(db, holder.who.id, name)
    if found is None:
        raise NotFound(f"Cannot find user: {show(name)}")
    return found


@router.get("/user/{user_name}/listens")
def user_listens(
    state: Shared, holder: Reads, user_name: str, count: str | None = None, max_ts: str | None = None,
    min_ts: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    whose = _whose(state, holder, user_name)
    wanted = _whole(count, "count")
    before, after = _whole(max_ts, "max_ts"), _whole(min_ts, "min_ts")
    if before is not None and after is not None:
        raise BadInput("Give max_ts or min_ts, not both.")
    most = min(_COUNT if wanted is None else wanted, _MOST_COUNT)
    with state.db.read() as db:
        found = reading_back.window(db, whose.id, count=most, before=before, after=after)
        newest, oldest = reading_back.ends(db, whose.id)
        mbids = submitting.recording_ids(db, {listen.song_id for listen in found})
    shown = [wire.listen_json(listen, whose.name, mbids.get(listen.song_id)) for listen in found]
    return {
        "payload": {
            "count": len(shown), "user_id": whose.name, "listens": shown, "latest_listen_ts": newest,
            "oldest_listen_ts": oldest,
        }
    }  # fmt: skip


@router.get("/user/{user_name}/playing-now")
def user_playing_now(state: Shared, holder: Reads, user_name: str) -> dict[str, Any]:
    whose = _whose(state, holder, user_name)
    with state.db.read() as db:
        now = playing.of(db, whose.id)
    shown: list[dict[str, Any]] = []
    if now is not None:
        song: dict[str, Any] = {"artist_name": now.artist, "track_name": now.title, "additional_info": {}}
        if now.album:
            song["release_name"] = now.album
        if now.duration_ms:
            song["additional_info"]["duration_ms"] = now.duration_ms
        shown = [{"playing_now": True, "track_metadata": song}]
    return {"payload": {"count": len(shown), "user_id": whose.name, "playing_now": True, "listens": shown}}


@router.get("/user/{user_name}/listen-count")
def user_listen_count(state: Shared, holder: Reads, user_name: str) -> dict[str, Any]:
    whose = _whose(state, holder, user_name)
    with state.db.read() as db:
        return {"payload": {"count": reading_back.total(db, whose.id)}}


# -- feedback ---------------------------------------------------------------------------------------

_VERDICTS = {1: "love", -1: "dislike", 0: "clear"}


def _song(state: State, found: dict[str, Any]) -> int:
    msid, mbid = found.get("recording_msid"), found.get("recording_mbid")
    if isinstance(msid, str) and msid:
        song_id = wire.song_of_msid(msid)
    else:
        known = wire.check_mbid(mbid, "recording_mbid")
        if known is None:
            raise BadInput("recording_msid or recording_mbid says which song.")
        with state.db.read() as db:
            song_id = submitting.song_of(db, known)
    if song_id is None:
        raise BadInput("That recording is not known here; submit a listen of it first.")
    return song_id


@router.post("/feedback/recording-feedback")
def recording_feedback(state: Shared, holder: Submits, body: Body) -> dict[str, str]:
    found = _object(body)
    score = found.get("score")
    if isinstance(score, bool) or not isinstance(score, int) or score not in _VERDICTS:
        raise BadInput(f"score is 1, 0 or -1, not {show(str(score))}.")
    song_id = _song(state, found)
    with state.db.write() as db:
        listens.say(db, holder.who.id, song_id, _VERDICTS[score])
    return {"status": "ok"}


def _mine(state: State, holder: Holder, name: str) -> Listener:
    """Feedback is for oneself alone: sharing speaks of plays."""
    whose = _whose(state, holder, name)
    if whose.id != holder.who.id:
        raise NotFound(f"Cannot find user: {show(name)}")
    return whose


@router.get("/feedback/user/{user_name}/get-feedback")
def get_feedback(
    state: Shared, holder: Reads, user_name: str, score: str | None = None, count: str | None = None,
    offset: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    whose = _mine(state, holder, user_name)
    if score not in (None, "", "1", "-1"):
        raise BadInput(f"score is 1 or -1, not {show(str(score))}.")
    wanted, start = _whole(count, "count"), _whole(offset, "offset") or 0
    with state.db.read() as db:
        rows, total = reading_back.scored(
            db, whose.id, int(score) if score else None, min(100 if wanted is None else wanted, _MOST_COUNT), start
        )
        mbids = submitting.recording_ids(db, [song.id for _, song in rows])
    shown = [
        {
            "created": said.created_at, "recording_mbid": mbids.get(song.id), "recording_msid": wire.msid_of(song.id),
            "score": reading_back.SCORES[said.verdict], "user_id": whose.name,
            "track_metadata": wire.metadata(song, None, mbids.get(song.id)),
        }
        for said, song in rows
    ]  # fmt: skip
    return {"count": len(shown), "feedback": shown, "offset": start, "total_count": total}


@router.get("/feedback/user/{user_name}/get-feedback-for-recordings")
def get_feedback_for(
    state: Shared, holder: Reads, user_name: str, recording_msids: str = "", recording_mbids: str = ""
) -> dict[str, Any]:
    whose = _mine(state, holder, user_name)
    msids, mbids = [part.split(",") if part else [] for part in (recording_msids, recording_mbids)]
    if not 0 < len(msids) + len(mbids) <= 100:
        raise BadInput("Name 1 to 100 recordings in recording_msids or recording_mbids.")
    with state.db.read() as db:
        asked = [(msid, None, wire.song_of_msid(msid.strip())) for msid in msids]
        checked = [(mbid, wire.check_mbid(mbid, "recording_mbids")) for mbid in mbids]
        known = [(None, mbid, submitting.song_of(db, ok) if ok else None) for mbid, ok in checked]
        everything = [*asked, *known]
        scores = reading_back.scores_of(db, whose.id, [song for _, _, song in everything if song is not None])
    shown = [
        {"recording_msid": msid, "recording_mbid": mbid, "score": scores.get(song, 0) if song is not None else 0,
         "user_id": whose.name}
        for msid, mbid, song in everything
    ]  # fmt: skip
    return {"feedback": shown}
