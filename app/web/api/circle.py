"""Who you are, your picks and tokens, the circle and its invites."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import Response

from app.errors import BadInput
from app.services import accounts, listens, sharing, tokens
from app.services.text import clean
from app.tables import Listener, now
from app.tables_players import ApiToken
from app.web.access import Me, Shared
from app.web.api.routing import room
from app.web.api.shapes_taste import (
    CircleOut,
    FriendOut,
    InviteOut,
    MeChange,
    MeOut,
    NewToken,
    NewTokenOut,
    OpenInviteOut,
    OpenInvitesOut,
    Picks,
    SessionOut,
    SessionsOut,
    TokenOut,
    TokensOut,
)

router = room("", "circle")


@router.get("/me")
def me(state: Shared, who: Me) -> MeOut:
    """Who you are here."""
    with state.db.read() as db:
        return MeOut.model_validate(db.get_one(Listener, who.id))


@router.patch("/me")
def change_me(state: Shared, who: Me, change: MeChange) -> MeOut:
    """Change your time zone, or who may see what you play."""
    with state.db.write() as db:
        if change.time_zone is not None:
            accounts.set_time_zone(db, db.get_one(Listener, who.id), change.time_zone)
        if change.sharing is not None:
            sharing.share(db, who.id, change.sharing)
    return me(state, who)


@router.get("/me/picks")
def picks(state: Shared, who: Me) -> Picks:
    """Your liked genres and favourite artists."""
    with state.db.read() as db:
        genres, artists = listens.preferences(db, who.id)
    return Picks(genres=genres, artists=artists)


@router.put("/me/picks")
def set_picks(state: Shared, who: Me, wanted: Picks) -> Picks:
    """Replace your liked genres and favourite artists."""
    genres = [clean(genre, "A genre", most=60) for genre in wanted.genres]
    artists = [clean(artist, "An artist") for artist in wanted.artists]
    with state.db.write() as db:
        listens.set_preferences(db, who.id, genres, artists)
    return picks(state, who)


@router.get("/friends")
def friends(state: Shared, who: Me) -> CircleOut:
    """Everybody on this server, and who of them shares with you."""
    with state.db.read() as db:
        people, seen = accounts.everyone(db), set(db.scalars(sharing.visible(who.id)))
    shown = [
        FriendOut(
            name=one.name,
            is_admin=one.is_admin,
            shares=one.sharing != "off" if one.id == who.id else one.id in seen,
            is_me=one.id == who.id,
        )
        for one in people
    ]
    return CircleOut(friends=shown)


@router.get("/invites")
def invites(state: Shared, who: Me) -> OpenInvitesOut:
    """Your unused links."""
    with state.db.read() as db:
        found = accounts.open_invites(db, who.id)
    return OpenInvitesOut(invites=[OpenInviteOut.model_validate(one) for one in found])


@router.post("/invites", status_code=201)
def invite(request: Request, state: Shared, who: Me) -> InviteOut:
    """A new link for a friend. It works once and is told only now."""
    days = state.settings.invite_days
    with state.db.write() as db:
        token = accounts.invite(db, who.id, days)
    return InviteOut(link=str(request.url_for("join_form", token=token)), expires_at=now() + days * 86_400)


def _token(made: ApiToken) -> TokenOut:
    return TokenOut.model_validate(
        {"id": made.id, "name": made.name, "scopes": made.scopes.split(), "created_at": made.created_at,
         "used_at": made.used_at}
    )  # fmt: skip


@router.get("/tokens")
def my_tokens(state: Shared, who: Me) -> TokensOut:
    """Your tokens, without their text."""
    with state.db.read() as db:
        return TokensOut(tokens=[_token(made) for made in tokens.mine(db, who.id)])


@router.post("/tokens", status_code=201)
def add_token(state: Shared, who: Me, wanted: NewToken) -> NewTokenOut:
    """A new token; its text is told only now."""
    if len(set(wanted.scopes)) != len(wanted.scopes):
        raise BadInput("A scope is named twice.")
    with state.db.write() as db:
        made, token = tokens.add(db, who.id, wanted.name, wanted.scopes)
    return NewTokenOut(**_token(made).model_dump(), token=token)


@router.delete("/tokens/{token_id}", status_code=204)
def revoke_token(state: Shared, who: Me, token_id: str) -> Response:
    """End one of your tokens."""
    with state.db.write() as db:
        tokens.revoke(db, who.id, token_id)
    return Response(status_code=204)


@router.get("/sessions")
def my_sessions(state: Shared, who: Me) -> SessionsOut:
    """Your signed-in browsers, the one that asks first."""
    with state.db.read() as db:
        found = accounts.sessions(db, who.id, who.session)
    return SessionsOut(sessions=[SessionOut.model_validate(one) for one in found])


@router.delete("/sessions/{session_key}", status_code=204)
def end_session(state: Shared, who: Me, session_key: str) -> Response:
    """Sign one of your browsers out."""
    with state.db.write() as db:
        accounts.end_one(db, who.id, session_key)
    return Response(status_code=204)
