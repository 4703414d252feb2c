"""Whatever a player sends to ListenBrainz' or Audioscrobbler's addresses is answered in their words, never by halves.

Submissions are nearly right, with values that break programs in any place; then bytes of them are changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from fastapi import FastAPI
from httpx import Response
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, text
from starlette.testclient import TestClient

from app.db import Database
from app.main import create_app
from app.services import accounts, tokens
from app.services.audioscrobbler_format import read_form
from app.settings import Settings
from app.tables import Feedback, Listen, Song
from app.tables_players import NowPlaying
from app.web.audioscrobbler import _METHODS
from app.web.rate import Rate
from tests.inputs import times

pytestmark = pytest.mark.slow

PREFIXES = ("", "/apis/listenbrainz")
ODD = [
    "\x00",
    "a\x00b",
    "\ud800",
    "\udfff x",
    "\u202e\ufeff",
    "=cmd|'/c calc'!A1",
    "x" * 5_000,
    "NaN",
    " ",
    "１",
    "🎺" * 99,
]
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.sampled_from(ODD), st.text(max_size=12),
    st.sampled_from([2**63, 2**63 - 1, -(2**63) - 1, 10**400, 1_700_000_000, 1e308, float("nan"), float("-inf")]),
)  # fmt: skip
ANY = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
NAMES = st.sampled_from(["Nina Simone", "Sinnerman", "AC/DC", "Björk"]) | st.sampled_from(ODD)


def _object(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={name: value | LEAVES | ANY for name, value in fields.items()})


TRACKS = _object(
    artist_name=NAMES, track_name=NAMES, release_name=NAMES,
    additional_info=_object(duration_ms=st.integers(1, 10**7), duration=st.integers(1, 10**4), recording_mbid=NAMES,
                            duration_played=st.integers(0, 10**4)),
)  # fmt: skip
SUBMISSIONS = _object(
    listen_type=st.sampled_from(["single", "import", "playing_now"]),
    payload=st.lists(_object(listened_at=st.integers(1_600_000_000, 1_700_000_000), track_metadata=TRACKS), max_size=3),
)
OTHERS = _object(
    listened_at=st.integers(0, 2_000_000_000), recording_msid=NAMES, recording_mbid=NAMES, score=st.integers(-2, 2)
)
POSTS = ("/1/submit-listens", "/1/delete-listen", "/1/feedback/recording-feedback")
GETS = (
    "/1/validate-token", "/1/user/Ana/listens", "/1/user/Ana/playing-now", "/1/user/Ana/listen-count",
    "/1/feedback/user/Ana/get-feedback", "/1/feedback/user/Ana/get-feedback-for-recordings", "/1/user/%00/listens",
)  # fmt: skip
ASKED = ("count", "max_ts", "min_ts", "score", "offset", "recording_msids", "recording_mbids", "token")
FIELDS = ("artist", "track", "timestamp", "album", "duration", "mbid", "artist[0]", "track[0]", "timestamp[0]",
          "track[49]", "artist[x]", "token", "username", "password", "authToken", "format", "api_sig")  # fmt: skip


@pytest.fixture
def pages(bare: Settings) -> FastAPI:
    """The app without a base, and no limit on requests, which would answer before the protocol does."""
    app = create_app(bare, warm=False)
    app.state.earshot.rate.__init__(limit=10**9)
    assert isinstance(app.state.earshot.rate, Rate)
    return app


@pytest.fixture
def token(bare_db: Database) -> str:
    """A token of Ana's that may do both."""
    with bare_db.write() as db:
        return tokens.add(db, accounts.add_listener(db, "Ana", None).id, "Phone", ["submit", "read"])[1]


@pytest.fixture
def player(pages: FastAPI, token: str) -> Iterator[TestClient]:
    """A program without cookies."""
    with TestClient(pages, raise_server_exceptions=False) as client:
        yield client


def _damaged(data: st.DataObject, body: bytes) -> bytes:
    """As it is, or with a piece changed."""
    if data.draw(st.booleans()):
        return body
    at = data.draw(st.integers(0, len(body)))
    return body[:at] + data.draw(st.binary(max_size=3)) + body[at + data.draw(st.integers(0, 5)) :]


def _rows(opened: Database) -> list[int]:
    with opened.read() as db:
        return [db.scalar(select(func.count()).select_from(t)) or 0 for t in (Listen, Song, Feedback, NowPlaying)]


def _whole(opened: Database) -> None:
    with opened.read() as db:
        assert db.scalar(text("PRAGMA integrity_check")) == "ok"
        assert db.execute(text("PRAGMA foreign_key_check")).all() == []


MANY = settings(max_examples=times(300), deadline=None, suppress_health_check=list(HealthCheck), database=None)


def test_listenbrainz_answers_anything(player: TestClient, token: str, bare_db: Database) -> None:
    headers = {"authorization": f"Token {token}"}

    @MANY
    @given(st.data())
    def try_one(data: st.DataObject) -> None:
        prefix, before = data.draw(st.sampled_from(PREFIXES)), _rows(bare_db)
        if data.draw(st.integers(0, 3)):
            path = data.draw(st.sampled_from(POSTS))
            said = data.draw((SUBMISSIONS if path == POSTS[0] else OTHERS) | ANY)
            answer = player.post(prefix + path, content=_damaged(data, json.dumps(said).encode()), headers=headers)
        else:
            values = st.sampled_from(["1", "-1", "0", "2" * 30, "x"]) | st.text(max_size=8)
            query = data.draw(st.dictionaries(st.sampled_from(ASKED), values, max_size=3))
            answer = player.get(prefix + data.draw(st.sampled_from(GETS)) + "?" + urlencode(query), headers=headers)
        _is_answered(answer)
        assert answer.status_code == 200 or _rows(bare_db) == before, "refused, and yet something was written"

    try_one()
    _whole(bare_db)


def _is_answered(answer: Response) -> None:
    assert answer.status_code < 500, answer.text[:300]
    assert answer.json() is not None and int(answer.headers["x-ratelimit-remaining"]) > 0


def test_audioscrobbler_answers_anything(player: TestClient, token: str, bare_db: Database) -> None:
    values = st.sampled_from([v for v in ODD if "\ud800" not in v and "\udfff" not in v]) | st.text(max_size=8)
    numbers = st.integers(-(2**70), 2**70).map(str)

    @MANY
    @given(st.data())
    def try_one(data: st.DataObject) -> None:
        method = data.draw(st.sampled_from([*_METHODS, "track.nothing", ""]))
        form = {"method": method, "sk": token, "artist": "A", "track": "B", "timestamp": "1700000000"}
        form |= data.draw(st.dictionaries(st.sampled_from(FIELDS), values | numbers, max_size=5))
        body, before = _damaged(data, urlencode(form).encode()), _rows(bare_db)
        kind = data.draw(st.sampled_from(["application/x-www-form-urlencoded", "text/plain", ""]))
        if data.draw(st.booleans()):
            answer = player.post("/2.0/", content=body, headers={"content-type": kind})
        else:
            answer = player.get("/2.0", params=form)
        assert answer.status_code < 500 or answer.status_code == 503, answer.text[:300]
        assert answer.status_code == 200 or _rows(bare_db) == before, "refused, and yet something was written"

    try_one()
    _whole(bare_db)
    assert read_form("", b"") == {}
