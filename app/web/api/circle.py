"""The circle: who is here, how alike two tastes are, the circle's adapter, invites."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from app.errors import BadInput
from app.services import accounts, circle, circle_adapter, compatibility, sharing
from app.services.compatibility import Fitting
from app.tables import now
from app.web.access import Me, Seen, Shared
from app.web.api import shapes_circle as shapes
from app.web.api.routing import room
from app.web.api.shapes import song_out
from app.web.friends import invite_days, take_part

router = room("", "circle")


@router.get("/friends")
def friends(state: Shared, who: Me) -> shapes.CircleOut:
    """Everybody on this server, who of them shares with you, and with whom you share by name."""
    with state.db.read() as db:
        people, seen = accounts.everyone(db), set(db.scalars(sharing.visible(who.id)))
        named = sharing.shared_with(db, who.id)
    shown = [
        shapes.FriendOut(
            id=one.id, name=one.name, is_admin=one.is_admin, is_me=one.id == who.id, named=one.id in named,
            shares=one.sharing != "off" if one.id == who.id else one.id in seen,
        )
        for one in people
    ]  # fmt: skip
    return shapes.CircleOut(friends=shown)


@router.get("/friends/{person}")
def friend(state: Shared, who: Me, other: Seen) -> shapes.CompatibilityOut:
    """How alike the taste of somebody who shares with you is to yours, told by songs."""
    engine = state.engine.get()
    with state.db.read() as db:
        found = compatibility.compare(db, engine, state.kinds, who.id, other.id)
    return shapes.CompatibilityOut(
        friend=other.name, agreement=found.agreement, both=[song_out(song) for song in found.both],
        for_me=[_fitting(one) for one in found.for_me], for_them=[_fitting(one) for one in found.for_them],
        apart=[_fitting(one) for one in found.apart],
    )  # fmt: skip


def _fitting(one: Fitting) -> shapes.FittingOut:
    return shapes.FittingOut(song=song_out(one.song), fit=one.fit)


@router.get("/lately")
def lately(state: Shared, who: Me, count: Annotated[int, Query(ge=1, le=100)] = 20) -> shapes.LatelyOut:
    """What friends who share with you played within a month."""
    with state.db.read() as db:
        found = circle.lately(db, who.id, count)
    heard = [shapes.HeardOut(friend=one.friend, song=song_out(one.song), at=one.at) for one in found]
    return shapes.LatelyOut(heard=heard)


# -- the circle's adapter ---------------------------------------------------------------------------


@router.get("/circle")
def circle_status(state: Shared, who: Me) -> shapes.CircleAdapterOut:
    """The adapter of those who take part."""
    with state.db.read() as db:
        found = circle_adapter.status(db, who.id, state.settings.min_songs)
    version = found.version and {
        "promoted": found.version.promoted, "why": found.version.why, "members": found.version.members,
        "learnt_from": found.version.learnt_from, "difference": found.version.difference, "low": found.version.low,
        "high": found.version.high, "created_at": found.version.created_at,
    }  # fmt: skip
    return shapes.CircleAdapterOut(
        mine=found.mine, opted=found.opted, ready=found.ready, least=found.least, version=version,
        job=found.job.state if found.job else None,
    )  # fmt: skip


@router.put("/circle")
def join_circle(state: Shared, who: Me, wanted: shapes.TakePart) -> shapes.CircleAdapterOut:
    """Take part, or take that back: what learnt from you then answers nobody."""
    take_part(state, who, "on" if wanted.join else "off")
    return circle_status(state, who)


@router.post("/circle/retrain", status_code=202)
def retrain_circle(state: Shared, who: Me) -> shapes.CircleAdapterOut:
    """Train the circle's adapter anew; for those who take part. 409 says how many are missing."""
    with state.db.write() as db:
        circle_adapter.request_as(db, who.id, state.settings.min_songs)
    return circle_status(state, who)


# -- invites ----------------------------------------------------------------------------------------


@router.get("/invites")
def invites(state: Shared, who: Me) -> shapes.OpenInvitesOut:
    """Your unused links."""
    with state.db.read() as db:
        found = accounts.open_invites(db, who.id)
    return shapes.OpenInvitesOut(
        invites=[
            shapes.OpenInviteOut(key=one.token_hash, created_at=one.created_at, expires_at=one.expires_at)
            for one in found
        ]
    )


@router.post("/invites", status_code=201)
def invite(
    request: Request, state: Shared, who: Me,
    days: Annotated[int | None, Query(description="How long it lasts: 1, 7, 14 or 30; else as is usual here.")] = None,
) -> shapes.InviteOut:  # fmt: skip
    """A new link for a friend. It works once and is told only now."""
    allowed = invite_days(state)
    lasts = state.settings.invite_days if days is None else days
    if lasts not in allowed:
        raise BadInput(f"A link lasts {', '.join(map(str, allowed))} days, not {lasts}.")
    with state.db.write() as db:
        token = accounts.invite(db, who.id, lasts)
    return shapes.InviteOut(link=str(request.url_for("join_form", token=token)), expires_at=now() + lasts * 86_400)


@router.delete("/invites/{link}", status_code=204)
def end_invite(state: Shared, who: Me, link: str) -> Response:
    """End one of your unused links by its key."""
    with state.db.write() as db:
        accounts.revoke_invite(db, who.id, link)
    return Response(status_code=204)
