"""Who may see and touch what: the one table of rules, and the dependencies by which routes learn who asks.

Every route has a line in ``RULES``; one without a line is refused to everybody. tests/web/test_access.py takes all
routes from the app itself and tries each as a stranger, another listener, friends without and with sharing, the owner
and the administrator.
"""

from __future__ import annotations

from contextlib import suppress
from enum import StrEnum
from typing import Annotated

from fastapi import Depends, Request
from starlette.responses import Response

from app.errors import CannotWrite, Forbidden, NotSignedIn, TooBusy
from app.services import accounts, sharing
from app.services.accounts import SignedIn
from app.settings import Settings
from app.tables import Listener
from app.web.limits import LIMITS, address_of
from app.web.rendering import State, state_of
from app.web.security import is_by_token
from app.web.tokens_access import holder_of, require

Shared = Annotated[State, Depends(state_of)]


class Rule(StrEnum):
    """Who a route is for. Held here for all routes alike; what OWN and SHARED name is looked up by the service."""

    OPEN = "strangers too"
    LINK = "whoever holds the secret in the path; it says itself what may be done"
    MEMBER = "every listener; each sees and touches only their own things, or what is the same for all"
    OWN = "the listener whom the thing named in path or form belongs to; for everybody else it is not there"
    SHARED = "that listener, and friends with whom they share it; for everybody else it is not there"
    TOKEN = "the listener whose API token is sent; a browser's session does not count"
    ADMIN = "the administrator"


OPEN, LINK, MEMBER, OWN, SHARED, TOKEN, ADMIN = Rule

# "METHOD path as the route writes it": rule. Sorted by the room that the route is in.
RULES: dict[str, Rule] = {
    # home, health
    "GET /": OPEN,
    "GET /healthz": OPEN,
    "GET /readyz": OPEN,
    # accounts
    "GET /setup": OPEN,
    "POST /setup": OPEN,
    "GET /login": OPEN,
    "POST /login": OPEN,
    "POST /logout": MEMBER,
    "GET /join/{token}": LINK,
    "POST /join/{token}": LINK,
    "GET /welcome": MEMBER,
    "POST /welcome": MEMBER,
    # listens
    "GET /listens": MEMBER,
    "POST /listens": MEMBER,
    "GET /listens/new": MEMBER,
    "GET /listens/{listen_id}/edit": OWN,
    "POST /listens/{listen_id}/edit": OWN,
    "POST /listens/{listen_id}/learn": OWN,
    "POST /listens/{listen_id}/delete": OWN,
    # songs, browse
    "GET /api/songs": MEMBER,
    "POST /songs/{song_id}/feedback": MEMBER,
    "GET /browse": MEMBER,
    "GET /artists": MEMBER,
    "GET /artists/{key:path}": MEMBER,
    "GET /genres/{name}": MEMBER,
    "GET /decades/{decade}": MEMBER,
    "GET /songs/{song_id}": MEMBER,
    "POST /songs/{song_id}/genres": MEMBER,
    # recommend, taste
    "GET /recommend": MEMBER,
    "POST /artists/hide": MEMBER,
    "POST /artists/show": MEMBER,
    "GET /taste": MEMBER,
    "POST /taste/retrain": MEMBER,
    "POST /taste/cancel": MEMBER,
    "POST /taste/live": OWN,
    "GET /taste/events": MEMBER,
    "GET /taste/compare": MEMBER,
    "GET /taste/map": MEMBER,
    # lists, playlists
    "GET /lists": MEMBER,
    "GET /lists/{list_id}": OWN,
    "GET /lists/{list_id}/{kind}": OWN,
    "POST /lists/{list_id}/delete": OWN,
    "GET /playlists": MEMBER,
    "POST /playlists": MEMBER,
    "POST /playlists/add": OWN,
    "GET /playlists/{playlist_id}": OWN,
    "GET /playlists/{playlist_id}/{kind}": OWN,
    "POST /playlists/{playlist_id}/move": OWN,
    "POST /playlists/{playlist_id}/take-out": OWN,
    "POST /playlists/{playlist_id}/rename": OWN,
    "POST /playlists/{playlist_id}/delete": OWN,
    # settings
    "GET /settings": MEMBER,
    "POST /settings/time-zone": MEMBER,
    "POST /settings/sessions/end": OWN,
    "POST /settings/password": MEMBER,
    "POST /settings/delete": MEMBER,
    # admin
    "GET /admin": ADMIN,
    "POST /admin/people/{person_id}/rights": ADMIN,
    "POST /admin/people/{person_id}/reset": ADMIN,
    "POST /admin/invites/{invite_key}/end": ADMIN,
    "POST /admin/jobs/{person_id}/cancel": ADMIN,
    "POST /admin/backup": ADMIN,
    # imports, exports
    "GET /import": MEMBER,
    "POST /import": MEMBER,
    "GET /import/{import_id}": OWN,
    "POST /import/{import_id}/run": OWN,
    "POST /import/{import_id}/stop": OWN,
    "POST /import/{import_id}/undo": OWN,
    "POST /import/{import_id}/discard": OWN,
    "POST /import/{import_id}/count-duplicates": OWN,
    "GET /import/{import_id}/report.csv": OWN,
    "GET /api/v1/imports": MEMBER,
    "POST /api/v1/imports": MEMBER,
    "GET /api/v1/imports/{import_id}": OWN,
    "DELETE /api/v1/imports/{import_id}": OWN,
    "POST /api/v1/imports/{import_id}/run": OWN,
    "POST /api/v1/imports/{import_id}/stop": OWN,
    "POST /api/v1/imports/{import_id}/undo": OWN,
    "POST /api/v1/imports/{import_id}/count-duplicates": OWN,
    "GET /api/v1/imports/{import_id}/report.csv": OWN,
    "GET /api/v1/export/listens.jsonl": MEMBER,
    "GET /api/v1/export/listens.csv": MEMBER,
    "GET /api/v1/export/account.zip": MEMBER,
    "GET /export": MEMBER,
    "GET /export/listens.jsonl": MEMBER,
    "GET /export/listens.csv": MEMBER,
    "GET /export/account.zip": MEMBER,
    # friends
    "GET /friends": MEMBER,
    "POST /friends/invite": MEMBER,
    "POST /friends/invite/revoke": OWN,
    "POST /friends/sharing": MEMBER,
    "POST /friends/circle": MEMBER,
    "POST /friends/circle/retrain": MEMBER,
    # blends
    "GET /friends/{person}": SHARED,
    "GET /blends": MEMBER,
    "POST /blends": MEMBER,
    "GET /blends/{blend}": OWN,
    "POST /blends/{blend}/agree": OWN,
    "POST /blends/{blend}/leave": OWN,
    "POST /blends/{blend}/weights": OWN,
    # live, tokens
    "GET /live/events": MEMBER,
    "GET /settings/tokens": MEMBER,
    "POST /settings/tokens": MEMBER,
    "POST /settings/tokens/{token_id}/revoke": OWN,
    # audioscrobbler: one address, whose methods ask for the session key or the token in the form
    "GET /2.0": TOKEN,
    "POST /2.0": TOKEN,
    "GET /2.0/": TOKEN,
    "POST /2.0/": TOKEN,
    "GET /api/auth/": MEMBER,
    "POST /api/auth/": MEMBER,
}
# api: a session, or a token whose scope TOKEN_SCOPES names
RULES |= {
    "GET /api/v1/openapi.json": OPEN,
    "GET /api/v1/songs": MEMBER,
    "GET /api/v1/songs/{song_id}": MEMBER,
    "PUT /api/v1/songs/{song_id}/genres": MEMBER,
    "PUT /api/v1/songs/{song_id}/feedback": MEMBER,
    "DELETE /api/v1/songs/{song_id}/feedback": MEMBER,
    "GET /api/v1/feedback": MEMBER,
    "GET /api/v1/genres": MEMBER,
    "GET /api/v1/genres/{name}/songs": MEMBER,
    "GET /api/v1/decades": MEMBER,
    "GET /api/v1/decades/{decade}/songs": MEMBER,
    "GET /api/v1/artists": MEMBER,
    "GET /api/v1/artists/{key:path}": MEMBER,
    "GET /api/v1/listens": MEMBER,
    "POST /api/v1/listens": MEMBER,
    "GET /api/v1/listens/{listen_id}": OWN,
    "PUT /api/v1/listens/{listen_id}": OWN,
    "DELETE /api/v1/listens/{listen_id}": OWN,
    "GET /api/v1/now-playing": MEMBER,
    "GET /api/v1/recommendations": MEMBER,
    "GET /api/v1/taste": MEMBER,
    "GET /api/v1/taste/job": MEMBER,
    "POST /api/v1/taste/retrain": MEMBER,
    "POST /api/v1/taste/cancel": MEMBER,
    "PUT /api/v1/taste/live": OWN,
    "GET /api/v1/me": MEMBER,
    "PATCH /api/v1/me": MEMBER,
    "GET /api/v1/me/picks": MEMBER,
    "PUT /api/v1/me/picks": MEMBER,
    "GET /api/v1/friends": MEMBER,
    "GET /api/v1/invites": MEMBER,
    "POST /api/v1/invites": MEMBER,
    "GET /api/v1/tokens": MEMBER,
    "POST /api/v1/tokens": MEMBER,
    "DELETE /api/v1/tokens/{token_id}": OWN,
    "GET /api/v1/sessions": MEMBER,
    "DELETE /api/v1/sessions/{session_key}": OWN,
}
# What a token may do there instead of a session: GET with "read", these with "submit", and nothing else, so that a
# token lost with a phone changes neither the account nor the circle.
SUBMITS = {
    "PUT /api/v1/songs/{song_id}/feedback",
    "DELETE /api/v1/songs/{song_id}/feedback",
    "POST /api/v1/listens",
    "PUT /api/v1/listens/{listen_id}",
    "DELETE /api/v1/listens/{listen_id}",
    "POST /api/v1/taste/retrain",
    "POST /api/v1/taste/cancel",
    "POST /api/v1/imports",
    "POST /api/v1/imports/{import_id}/run",
    "POST /api/v1/imports/{import_id}/stop",
    "POST /api/v1/imports/{import_id}/undo",
    "POST /api/v1/imports/{import_id}/count-duplicates",
    "DELETE /api/v1/imports/{import_id}",
}
# listenbrainz, under both of its prefixes
for _prefix in ("/1", "/apis/listenbrainz/1"):
    RULES |= {
        f"POST {_prefix}/submit-listens": TOKEN,
        f"POST {_prefix}/delete-listen": TOKEN,
        f"GET {_prefix}/validate-token": TOKEN,
        f"GET {_prefix}/user/{{user_name}}/listens": TOKEN,
        f"GET {_prefix}/user/{{user_name}}/playing-now": TOKEN,
        f"GET {_prefix}/user/{{user_name}}/listen-count": TOKEN,
        f"POST {_prefix}/feedback/recording-feedback": TOKEN,
        f"GET {_prefix}/feedback/user/{{user_name}}/get-feedback": TOKEN,
        f"GET {_prefix}/feedback/user/{{user_name}}/get-feedback-for-recordings": TOKEN,
    }


def cookie_name(settings: Settings) -> str:
    """``__Host-`` binds the cookie to this host over HTTPS; browsers refuse it on plain HTTP."""
    return "__Host-earshot" if settings.https else "earshot"


def set_cookie(response: Response, settings: Settings, token: str) -> None:
    """Hand the browser its session."""
    response.set_cookie(
        cookie_name(settings), token, max_age=settings.session_days * 86_400, path="/", secure=settings.https,
        httponly=True, samesite="lax",
    )  # fmt: skip


def forget_cookie(response: Response, settings: Settings) -> None:
    """Have the browser drop its session."""
    response.delete_cookie(cookie_name(settings), path="/", secure=settings.https, httponly=True)


def _by_token(request: Request) -> SignedIn:
    """Who asks by a token on the JSON API. Raises NotSignedIn or Forbidden."""
    key = key_of(request)
    holder = holder_of(request)
    if request.method == "GET":
        return require(holder, "read").who
    if key in SUBMITS:
        return require(holder, "submit").who
    raise Forbidden("A token may not do this; it is for a signed-in browser.")


def anyone(request: Request, state: Shared) -> SignedIn | None:
    """Who asks, by their browser's session, or on the JSON API by the token that is sent; None for a stranger."""
    if is_by_token(request.scope) and request.url.path.startswith("/api/"):
        return _by_token(request)
    token = request.cookies.get(cookie_name(state.settings))
    if not token:
        return None
    with state.db.read() as db:
        found = accounts.whose_session(db, token)
    if found is None:
        return None
    who, stale = found
    if stale:
        with suppress(TooBusy, CannotWrite), state.db.write() as db:  # who only reads needs no disk to write on
            accounts.touch_session(db, token, state.settings.session_days)
    request.state.who = who
    return who


def signed_in(who: Annotated[SignedIn | None, Depends(anyone)]) -> SignedIn:
    """Who asks. Raises NotSignedIn for a stranger."""
    if who is None:
        raise NotSignedIn("Please sign in first.")
    return who


def key_of(request: Request) -> str:
    """The route that answers, as ``RULES`` names it."""
    return f"{request.method} {request.scope['route'].path}"


def enforce(request: Request, who: Annotated[SignedIn | None, Depends(anyone)]) -> None:
    """Every route's first dependency: holds its rule and its limit. Raises NotSignedIn, Forbidden, TooManyTries."""
    key = key_of(request)
    rule = RULES.get(key)
    if rule is None:
        raise Forbidden("Nobody may do this: it has no rule.")
    if rule in (MEMBER, OWN, SHARED, ADMIN):
        who = signed_in(who)
    if rule is ADMIN and (who is None or not who.is_admin):
        raise Forbidden("Only the administrator may do this.")
    if key in LIMITS:
        state_of(request).limiter.count(LIMITS[key], address=address_of(request), account=who.id if who else "")


Stranger = Annotated[SignedIn | None, Depends(anyone)]
Me = Annotated[SignedIn, Depends(signed_in)]


def friend_seen(person: str, state: Shared, who: Me) -> Listener:
    """Rule: ``{person}`` of the path, if they share their listens with who asks. Raises NotFound."""
    with state.db.read() as db:
        return sharing.seen(db, who.id, person)


Seen = Annotated[Listener, Depends(friend_seen)]
