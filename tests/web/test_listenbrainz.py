"""ListenBrainz' API to the letter: what is taken, what is refused and how it is said, on both prefixes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import Response
from sqlalchemy import select
from starlette.testclient import TestClient

from app.db import Database
from app.services import listenbrainz_format, submitting, tokens
from app.tables import Feedback, Listen, Listener, Song, now
from app.tables_imports import SoftDuplicate
from app.tables_players import ApiToken
from app.web.rate import LIMIT, Rate

AT = 1_700_000_000
MBID = "8f3471b5-7e6a-48da-86a9-c1c07a0f47ae"


@pytest.fixture
def token(db: Database, admin: Listener) -> str:
    """A token of Ana's that may do both."""
    with db.write() as session:
        return tokens.add(session, admin.id, "Phone", ["submit", "read"])[1]


class Player:
    """A program without cookies and without a browser's headers."""

    def __init__(self, app: FastAPI, token: str, prefix: str = "") -> None:
        self.client = TestClient(app, raise_server_exceptions=False)
        self.prefix, self.headers = prefix, {"Authorization": f"Token {token}"} if token else {}

    def submit(self, kind: str, *payload: Any, **more: Any) -> Response:
        """Submit listens."""
        return self.send({"listen_type": kind, "payload": list(payload), **more})

    def send(self, body: Any, path: str = "/1/submit-listens") -> Response:
        """Send JSON, or bytes as they are; without a content type, as one real client does."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post(self.prefix + path, content=content, headers=self.headers)

    def get(self, path: str, **query: Any) -> Response:
        """Read."""
        return self.client.get(self.prefix + path, params=query, headers=self.headers)


@pytest.fixture(params=["", "/apis/listenbrainz"], ids=["root", "apis"])
def player(request: pytest.FixtureRequest, app: FastAPI, stranger: TestClient, token: str) -> Player:
    """Ana's player, on each prefix."""
    return Player(app, token, request.param)


@pytest.fixture
def one(app: FastAPI, stranger: TestClient, token: str) -> Player:
    """Ana's player, on one prefix."""
    return Player(app, token)


def listen(at: Any = AT, track: Any = "Sinnerman", artist: Any = "Nina Simone", **more: Any) -> dict[str, Any]:
    """A listen as players write it."""
    info = {name: more.pop(name) for name in list(more) if name not in ("release_name",)}
    song = {"artist_name": artist, "track_name": track, **more}
    if info:
        song["additional_info"] = info
    return {"listened_at": at, "track_metadata": song} if at is not None else {"track_metadata": song}


def listens_of(db: Database) -> list[Listen]:
    """Everything logged, oldest first."""
    with db.read() as session:
        return list(session.scalars(select(Listen).order_by(Listen.listened_at)))


def test_the_documents_own_example_is_taken_and_read_back(player: Player, db: Database) -> None:
    sent = listen(release_name="Pastel Blues", duration_ms=622_000, duration_played=600, submission_client="demo")
    answer = player.submit("import", sent)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    (kept,) = listens_of(db)
    assert (kept.listened_at, kept.album, kept.duration_ms, kept.played_ms) == (AT, "Pastel Blues", 622_000, 600_000)
    assert kept.ended == "played"
    back = player.get("/1/user/Ana/listens").json()["payload"]
    assert (back["count"], back["user_id"], back["latest_listen_ts"], back["oldest_listen_ts"]) == (1, "Ana", AT, AT)
    song = back["listens"][0]["track_metadata"]
    assert (song["artist_name"], song["track_name"], song["release_name"]) == (
        "Nina Simone",
        "Sinnerman",
        "Pastel Blues",
    )
    assert player.get("/1/user/Ana/listen-count").json() == {"payload": {"count": 1}}
    assert player.submit("import", sent).status_code == 200
    assert len(listens_of(db)) == 1, "submitting again adds nothing"


@pytest.mark.parametrize("form", ["Token {}", "token {}", "TOKEN  {}", "Bearer {}"])
def test_the_token_is_known_however_its_header_is_written(one: Player, token: str, form: str) -> None:
    one.headers = {"Authorization": form.format(token)}
    assert one.submit("single", listen()).status_code == 200


@pytest.mark.parametrize("header", [None, "", "Token", "Token nonsense", "Basic YTpi", "Token a b", "Token \xff"])
def test_without_a_good_token_the_answer_is_401(one: Player, db: Database, header: str | None) -> None:
    one.headers = {} if header is None else {"Authorization": header.encode("latin-1")}  # type: ignore[dict-item]
    for answer in (one.submit("single", listen()), one.get("/1/user/Ana/listens")):
        assert (answer.status_code, answer.json()["code"]) == (401, 401) and answer.json()["error"]
    assert listens_of(db) == []


def test_a_revoked_token_and_one_of_the_wrong_scope_do_nothing(
    one: Player, db: Database, admin: Listener, token: str
) -> None:
    with db.write() as session:
        reads = tokens.add(session, admin.id, "Reader", ["read"])[1]
        submits = tokens.add(session, admin.id, "Submitter", ["submit"])[1]
    one.headers = {"Authorization": f"Token {reads}"}
    assert one.submit("single", listen()).status_code == 403 and one.get("/1/user/Ana/listens").status_code == 200
    one.headers = {"Authorization": f"Token {submits}"}
    assert one.get("/1/user/Ana/listens").status_code == 403 and one.submit("single", listen()).status_code == 200
    with db.write() as session:
        for made in session.scalars(select(ApiToken)):
            session.delete(made)
    assert one.submit("single", listen(AT + 500)).status_code == 401
    assert len(listens_of(db)) == 1


def test_a_browsers_session_opens_nothing_here(me: TestClient, db: Database) -> None:
    body = json.dumps({"listen_type": "single", "payload": [listen()]})
    assert me.post("/1/submit-listens", content=body).status_code == 401
    assert me.get("/1/user/Ana/listens").status_code == 401 and listens_of(db) == []


def test_validate_token_says_200_also_of_a_bad_one_and_400_of_none(player: Player, token: str) -> None:
    good = {"code": 200, "message": "Token valid.", "valid": True, "user_name": "Ana"}
    assert player.get("/1/validate-token").json() == good
    player.headers = {}
    assert player.get("/1/validate-token", token=token).json() == good
    bad = player.get("/1/validate-token", token="nonsense")
    assert (bad.status_code, bad.json()["valid"]) == (200, False)
    none = player.get("/1/validate-token")
    assert (none.status_code, none.json()["code"]) == (400, 400)


BAD: dict[str, Any] = {
    "no json": b"{", "not utf-8": b'{"listen_type":"single\xff"}', "deep": b"[" * 100_000, "empty": b"", "list": [],
    "number": 5, "null": None, "no payload": {"listen_type": "single"}, "no type": {"payload": [listen()]},
    "unknown type": {"listen_type": "double", "payload": [listen()]},
    "three keys of the document": {"listen_type": "single", "payload": [listen()], "more": 1},
    "no listens": {"listen_type": "import", "payload": []},
    "payload no list": {"listen_type": "import", "payload": {"a": 1}},
    "two as single": {"listen_type": "single", "payload": [listen(), listen(AT + 1000)]},
    "two playing": {"listen_type": "playing_now", "payload": [listen(None), listen(None)]},
    "playing with a time": {"listen_type": "playing_now", "payload": [listen()]},
    "nan": b'{"listen_type":"single","payload":[{"listened_at":NaN,"track_metadata":{}}]}',
    "infinite": b'{"listen_type":"single","payload":[{"listened_at":1e999,"track_metadata":{"artist_name":"a",'
    b'"track_name":"b"}}]}',
}  # fmt: skip
BAD |= {
    name: {"listen_type": "import", "payload": [listen(AT - 5), wrong]}
    for name, wrong in {
        "no object": 5, "no song": {"listened_at": AT}, "song no object": {"listened_at": AT, "track_metadata": []},
        "three keys": {**listen(), "inserted_at": AT}, "no time": listen(None), "time as text": listen("soon"),
        "time as bool": listen(True), "before 2002": listen(1_033_430_399), "in the future": listen(4_000_000_000),
        "2**63": listen(2**63), "huge": listen(10**400), "no artist": listen(artist=""), "blank": listen(track="  "),
        "artist number": listen(artist=5), "nul": listen(track="a\x00b"), "nul elsewhere": listen(note="a\x00b"),
        "nul in a key": {**listen(), "track_metadata": {**listen()["track_metadata"], "a\x00": 1}},
        "lone surrogate": listen(track="\ud800"), "long": listen(track="x" * 501), "album": listen(release_name=5),
        "both lengths": listen(duration=200, duration_ms=200_000), "no length": listen(duration_ms=0),
        "25 days": listen(duration_ms=25 * 86_400_000), "negative": listen(duration=-5),
        "length text": listen(duration="long"), "51 tags": listen(tags=["a"] * 51), "65": listen(tags=["a" * 65]),
        "tag number": listen(tags=[5]), "tags text": listen(tags="rock"), "no mbid": listen(recording_mbid="nonsense"),
        "mbids number": listen(artist_mbids=5), "mbid in list": listen(artist_mbids=["x"]),
        "info text": {"listened_at": AT, "track_metadata": {**listen()["track_metadata"], "additional_info": "x"}},
    }.items()
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_body_that_cannot_be_taken_is_refused_whole_with_400(one: Player, db: Database, name: str) -> None:
    answer = one.send(BAD[name])
    assert (answer.status_code, answer.json()["code"]) == (400, 400), answer.text
    assert answer.json()["error"] and len(answer.json()["error"]) < 300
    assert listens_of(db) == []


def test_at_the_limits_everything_is_taken(one: Player, db: Database) -> None:
    tags = [str(number).rjust(64, "a") for number in range(50)]
    sent = listen(now() + 3_000, tags=tags, duration_ms=24 * 86_400_000)
    assert one.submit("single", sent).status_code == 200
    assert one.submit("single", listen(1_033_430_400)).status_code == 200
    assert one.submit("single", listen(str(AT))).status_code == 200
    blank = listen(AT + 9_000, release_name="  ", recording_mbid=" ", artist_mbids=[""], release_group_mbid=[])
    assert one.submit("single", blank).status_code == 200
    kept = listens_of(db)
    assert len(kept) == 4 and all(one.album is None for one in kept)


def test_a_thousand_listens_are_taken_and_one_more_is_not(one: Player, db: Database) -> None:
    many = [listen(AT + 1000 * n, track=f"Song {n % 7}") for n in range(1_000)]
    assert one.submit("import", *many, listen(AT - 9)).status_code == 400
    assert listens_of(db) == []
    assert one.submit("import", *many).status_code == 200
    assert len(listens_of(db)) == 1_000
    page = one.get("/1/user/Ana/listens", count=5_000).json()["payload"]
    assert page["count"] == 1_000, "never more than 1,000 at a time"


@pytest.mark.parametrize("size", [10_241, 10_240_001, 30_000_000])
def test_too_many_bytes_are_400_and_never_413(one: Player, db: Database, size: int) -> None:
    answer = one.submit("single", listen(note="x" * size))
    assert (answer.status_code, answer.json()["code"]) == (400, 400)
    streamed = one.client.post("/1/submit-listens", content=iter([b"x" * 100_000] * 110), headers=one.headers)
    assert (streamed.status_code, streamed.json()["code"]) == (400, 400)
    assert listens_of(db) == []


def test_skips_are_kept_as_weak_signs_and_not_given_as_listens(one: Player, db: Database) -> None:
    one.submit("single", listen(duration_ms=200_000, duration_played=20))
    one.submit("single", listen(AT + 900, duration_ms=200_000, duration_played=100))
    assert [kept.ended for kept in listens_of(db)] == ["skipped", "played"]
    assert one.get("/1/user/Ana/listen-count").json()["payload"]["count"] == 1
    assert [s["listened_at"] for s in one.get("/1/user/Ana/listens").json()["payload"]["listens"]] == [AT + 900]


def test_one_play_told_by_two_players_counts_once_and_is_kept(
    app: FastAPI, one: Player, db: Database, admin: Listener
) -> None:
    with db.write() as session:
        other = Player(app, tokens.add(session, admin.id, "Desk", ["submit"])[1])
    one.submit("single", listen())
    other.submit("single", listen(AT + 60))
    one.submit("single", listen(AT + 30))
    other.submit("single", listen(AT + 200))
    assert [kept.listened_at for kept in listens_of(db)] == [AT, AT + 30, AT + 200], "a player does not repeat itself"
    with db.read() as session:
        (kept,) = session.scalars(select(SoftDuplicate))
        assert (kept.listened_at, kept.repeats_id) == (AT + 60, listens_of(db)[0].id)


def test_times_are_exclusive_and_either_bound_is_taken_but_not_both(player: Player) -> None:
    player.submit("import", *[listen(AT + 1000 * n) for n in range(5)])

    def times(**query: Any) -> list[int]:
        found = player.get("/1/user/Ana/listens", **query).json()["payload"]["listens"]
        return [(one["listened_at"] - AT) // 1000 for one in found]

    assert times() == [4, 3, 2, 1, 0]
    assert times(max_ts=AT + 2000) == [1, 0] and times(min_ts=AT + 2000) == [4, 3]
    assert times(min_ts=AT, count=2) == [2, 1], "those nearest to the bound"
    assert times(count=0) == []
    for wrong in ({"max_ts": AT, "min_ts": AT}, {"count": -1}, {"count": "x"}, {"max_ts": 2**70}, {"min_ts": "１"}):
        answer = player.get("/1/user/Ana/listens", **wrong)
        assert (answer.status_code, answer.json()["code"]) == (400, 400), wrong


@pytest.mark.parametrize("path", ["listens", "playing-now", "listen-count"])
def test_friends_read_what_is_shared_with_them_and_nothing_else(
    app: FastAPI, one: Player, db: Database, admin: Listener, ben: Listener, path: str
) -> None:
    one.submit("single", listen())
    with db.write() as session:
        bens = Player(app, tokens.add(session, ben.id, "Phone", ["read"])[1])
    assert bens.get(f"/1/user/Ana/{path}").status_code == 404
    assert bens.get(f"/1/user/Nobody/{path}").status_code == 404
    with db.write() as session:
        session.get_one(Listener, admin.id).sharing = "circle"
    assert bens.get(f"/1/user/ana/{path}").json()["payload"]["count"] == (0 if path == "playing-now" else 1)
    assert bens.get("/1/feedback/user/Ana/get-feedback").status_code == 404


def test_what_is_playing_is_told_until_it_is_over(player: Player, db: Database, admin: Listener) -> None:
    assert player.get("/1/user/Ana/playing-now").json()["payload"]["listens"] == []
    assert player.submit("playing_now", listen(None, duration_ms=240_000)).status_code == 200
    payload = player.get("/1/user/Ana/playing-now").json()["payload"]
    assert (payload["count"], payload["playing_now"]) == (1, True)
    assert payload["listens"][0]["track_metadata"]["track_name"] == "Sinnerman"
    player.submit("playing_now", listen(None, track="Feeling Good"))
    shown = player.get("/1/user/Ana/playing-now").json()["payload"]["listens"]
    assert [one["track_metadata"]["track_name"] for one in shown] == ["Feeling Good"]
    assert listens_of(db) == [], "what is playing is no listen yet"
    from app.tables_players import NowPlaying

    with db.write() as session:
        session.get_one(NowPlaying, admin.id).until = now() - 1
    assert player.get("/1/user/Ana/playing-now").json()["payload"]["count"] == 0


def test_feedback_by_message_id_or_musicbrainz_id_is_kept_and_read_back(player: Player, db: Database) -> None:
    answer = player.client.post(
        f"{player.prefix}/1/submit-listens?return_msid=true", headers=player.headers,
        content=json.dumps({"listen_type": "single", "payload": [listen(recording_mbid=MBID.upper())]}),
    )  # fmt: skip
    msid = answer.json()["recording_msid"]
    path, got = "/1/feedback/recording-feedback", "/1/feedback/user/Ana/get-feedback"
    assert player.send({"recording_msid": msid, "score": 1}, path).json() == {"status": "ok"}
    (loved,) = player.get(got, score=1).json()["feedback"]
    assert (loved["recording_msid"], loved["recording_mbid"], loved["score"]) == (msid, MBID, 1)
    assert player.send({"recording_mbid": MBID, "score": -1}, path).status_code == 200
    assert player.get(got, score=1).json()["feedback"] == [] and player.get(got, score=-1).json()["total_count"] == 1
    asked = player.get(f"{got}-for-recordings", recording_msids=f"{msid},{MBID}").json()["feedback"]
    assert [one["score"] for one in asked] == [-1, 0]
    assert player.send({"recording_msid": msid, "score": 0}, path).status_code == 200
    with db.read() as session:
        assert session.scalars(select(Feedback)).all() == []
    for wrong in ({}, {"score": 1}, {"recording_msid": msid, "score": 2}, {"recording_msid": msid, "score": True}, [],
                  {"recording_msid": "x", "score": 1}, {"recording_mbid": "x", "score": 1}, {"recording_mbid": 5},
                  {"recording_mbid": MBID[:-1] + "f", "score": 1}, {"recording_msid": msid, "score": "1"}):  # fmt: skip
        assert player.send(wrong, path).status_code == 400, wrong


def test_a_listen_is_deleted_by_time_and_message_id(player: Player, db: Database) -> None:
    player.submit("import", listen(), listen(AT + 900))
    msid = player.get("/1/user/Ana/listens").json()["payload"]["listens"][0]["recording_msid"]
    gone = {"listened_at": AT, "recording_msid": msid}
    assert player.send(gone, "/1/delete-listen").json() == {"status": "ok"}
    assert [kept.listened_at for kept in listens_of(db)] == [AT + 900]
    assert player.send(gone, "/1/delete-listen").status_code == 404
    for wrong in ({}, {**gone, "listened_at": 2**70}, {**gone, "recording_msid": MBID}, {**gone, "listened_at": True}):
        assert player.send(wrong, "/1/delete-listen").status_code == 400


@pytest.mark.parametrize("song_id", [1, 77, 2**40])
def test_a_message_id_is_a_uuid_that_leads_back_to_its_song(song_id: int) -> None:
    msid = listenbrainz_format.msid_of(song_id)
    assert listenbrainz_format.song_of_msid(msid) == song_id
    assert listenbrainz_format.song_of_msid(MBID) is None and listenbrainz_format.song_of_msid("x") is None


def test_when_the_database_is_busy_the_answer_is_503(one: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.errors import TooBusy

    def busy(*_: object) -> None:
        raise TooBusy("The database is busy; please try again in a moment.")

    monkeypatch.setattr(submitting, "submit", busy)
    answer = one.submit("single", listen())
    assert (answer.status_code, answer.json()["code"]) == (503, 503)


def test_too_many_requests_are_503_and_the_headers_say_when_to_come_back(app: FastAPI, one: Player) -> None:
    first = one.get("/1/validate-token").headers
    assert int(first["x-ratelimit-limit"]) == LIMIT and int(first["x-ratelimit-remaining"]) < LIMIT
    assert 0 < int(first["x-ratelimit-reset-in"]) <= 10 and int(first["x-ratelimit-reset"]) >= now()
    app.state.earshot.rate.__init__(limit=0)
    answer = one.submit("single", listen())
    assert (answer.status_code, answer.json()["code"]) == (503, 503) and int(answer.headers["retry-after"]) > 0
    assert answer.headers["x-ratelimit-remaining"] == "0"


def test_the_count_of_requests_is_each_tokens_own_and_ends_with_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1_000.0]
    monkeypatch.setattr("app.web.rate.time.monotonic", lambda: clock[0])
    rate = Rate(limit=2)
    assert [rate.take("a").allowed for _ in range(3)] == [True, True, False]
    assert rate.take("b").allowed
    clock[0] += rate.take("a").reset_in
    assert rate.take("a").allowed


def test_pages_of_other_sites_may_call_the_players_addresses_and_no_others(
    app: FastAPI, one: Player, me: TestClient, written: Callable[[], dict[str, int]]
) -> None:
    elsewhere = {"origin": "https://player.example", "sec-fetch-site": "cross-site"}
    asks = {**elsewhere, "access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    for path in ("/1/submit-listens", "/apis/listenbrainz/1/submit-listens", "/2.0/", "/1/user/Ana/listens"):
        answer = one.client.options(path, headers=asks)
        assert answer.status_code == 204 and answer.headers["access-control-allow-origin"] == "*"
        assert "Authorization" in answer.headers["access-control-allow-headers"]
        assert "access-control-allow-credentials" not in answer.headers
    one.headers |= elsewhere
    answer = one.submit("single", listen())
    assert answer.status_code == 200 and answer.headers["access-control-allow-origin"] == "*"
    before = written()
    for path in ("/listens", "/settings/tokens", "/api/songs", "/1", "/11/x", "/2.0/x", "/"):
        assert "access-control-allow-origin" not in me.options(path, headers=asks).headers, path
        assert "access-control-allow-origin" not in me.get(path, headers=elsewhere).headers, path
    assert written() == before


def test_new_songs_join_the_catalogue_and_are_encoded(app: FastAPI, one: Player, db: Database) -> None:
    one.submit("single", listen(track="A Song Nobody Knows", artist="Nobody At All"))
    app.state.earshot.later.wait()
    with db.read() as session:
        song = session.scalar(select(Song).where(Song.title == "A Song Nobody Knows"))
    assert song is not None and app.state.earshot.engine.get().nearest(song.id, 3)
