"""Your account: who you are, picks, password, tokens, signed-in browsers, leaving for good."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import Response

from app.errors import BadInput
from app.services import accounts, listens, privacy, sharing, tokens
from app.services.text import clean
from app.tables import Listener
from app.tables_players import ApiToken
from app.web import own_account
from app.web.access import Me, Shared, set_cookie
from app.web.api import shapes_account as shapes
from app.web.api.routing import room

router = room("", "account")


@router.get("/me")
def me(state: Shared, who: Me) -> shapes.MeOut:
    """Who you are here."""
    with state.db.read() as db:
        return shapes.MeOut.model_validate(db.get_one(Listener, who.id))


@router.patch("/me")
def change_me(state: Shared, who: Me, change: shapes.MeChange) -> shapes.MeOut:
    """Change your time zone, or who may see what you play."""
    with state.db.write() as db:
        if change.time_zone is not None:
            accounts.set_time_zone(db, db.get_one(Listener, who.id), change.time_zone)
        if change.sharing is not None or change.friends is not None:
            choice = change.sharing or db.get_one(Listener, who.id).sharing
            sharing.share(db, who.id, choice, change.friends)
    return me(state, who)


@router.get("/me/picks")
def picks(state: Shared, who: Me) -> shapes.Picks:
    """Your liked genres and favourite artists."""
    with state.db.read() as db:
        genres, artists = listens.preferences(db, who.id)
    return shapes.Picks(genres=genres, artists=artists)


@router.put("/me/picks")
def set_picks(state: Shared, who: Me, wanted: shapes.Picks) -> shapes.Picks:
    """Replace your liked genres and favourite artists."""
    genres = [clean(genre, "A genre", most=60) for genre in wanted.genres]
    artists = [clean(artist, "An artist") for artist in wanted.artists]
    with state.db.write() as db:
        listens.set_preferences(db, who.id, genres, artists)
    return picks(state, who)


@router.put("/me/password", status_code=204)
def change_password(request: Request, state: Shared, who: Me, wanted: shapes.NewPassword) -> Response:
    """A new password ends every session; this browser gets a new one as a cookie."""
    response = Response(status_code=204)
    set_cookie(response, state.settings, own_account.new_password(request, state, who, wanted.current, wanted.new))
    return response


@router.get("/me/leaving")
def what_goes(state: Shared, who: Me) -> shapes.GoesOut:
    """What goes with your account."""
    with state.db.read() as db:
        return shapes.GoesOut(goes=privacy.what_goes(db, who.id))


@router.post("/me/leave", status_code=204)
def leave(state: Shared, who: Me, sure: shapes.Leaving) -> Response:
    """Delete your account and everything of yours, for good."""
    own_account.leave(state, who, sure.current)
    return Response(status_code=204)


# -- tokens -----------------------------------------------------------------------------------------


def _token(made: ApiToken) -> shapes.TokenOut:
    return shapes.TokenOut.model_validate(
        {"id": made.id, "name": made.name, "scopes": made.scopes.split(), "created_at": made.created_at,
         "used_at": made.used_at}
    )  # fmt: skip


@router.get("/tokens")
def my_tokens(state: Shared, who: Me) -> shapes.TokensOut:
    """Your tokens, without their text."""
    with state.db.read() as db:
        return shapes.TokensOut(tokens=[_token(made) for made in tokens.mine(db, who.id)])


@router.post("/tokens", status_code=201)
def add_token(state: Shared, who: Me, wanted: shapes.NewToken) -> shapes.NewTokenOut:
    """A new token; its text is told only now."""
    if len(set(wanted.scopes)) != len(wanted.scopes):
        raise BadInput("A scope is named twice.")
    with state.db.write() as db:
        made, token = tokens.add(db, who.id, wanted.name, wanted.scopes)
    return shapes.NewTokenOut(**_token(made).model_dump(), token=token)


@router.delete("/tokens/{token_id}", status_code=204)
def revoke_token(state: Shared, who: Me, token_id: str) -> Response:
    """End one of your tokens."""
    with state.db.write() as db:
        tokens.revoke(db, who.id, token_id)
    return Response(status_code=204)


# -- sessions ---------------------------------------------------------------------------------------


@router.get("/sessions")
def my_sessions(state: Shared, who: Me) -> shapes.SessionsOut:
    """Your signed-in browsers, the one that asks first."""
    with state.db.read() as db:
        found = accounts.sessions(db, who.id, who.session)
    return shapes.SessionsOut(sessions=[shapes.SessionOut.model_validate(one) for one in found])


@router.delete("/sessions", status_code=204)
def end_other_sessions(state: Shared, who: Me) -> Response:
    """Sign out everywhere but here."""
    with state.db.write() as db:
        accounts.end_all(db, who.id, but=who.session)
    return Response(status_code=204)


@router.delete("/sessions/{session_key}", status_code=204)
def end_session(state: Shared, who: Me, session_key: str) -> Response:
    """Sign one of your browsers out; with the key of this one, yourself."""
    with state.db.write() as db:
        accounts.end_one(db, who.id, session_key)
    return Response(status_code=204)
