"""Audioscrobbler 2.0: coming in, scrobbles in batches, what is playing, love; JSON and XML, errors by number."""

from __future__ import annotations

import hashlib
from typing import Any
from xml.etree import ElementTree

import pytest
from fastapi import FastAPI
from httpx import Response
from sqlalchemy import select
from starlette.testclient import TestClient

from app.db import Database
from app.services import listens, playing, submitting, tokens
from app.tables import Feedback, Listen, Listener, Song, now

AT = 1_700_000_000


class Player:
    """A program that sends forms and has neither cookies nor a browser's headers."""

    def __init__(self, app: FastAPI, sk: str = "") -> None:
        self.client, self.sk = TestClient(app, raise_server_exceptions=False), sk

    def call(self, method: str, *, path: str = "/2.0/", **fields: Any) -> Response:
        """Call a method; ``[`` and ``]`` of indexed names are written as ``artist_0_``."""
        form = {name: str(value) for name, value in fields.items()} | {"method": method, "api_key": "k"}
        return self.client.post(path, data={"sk": self.sk, **form} if self.sk else form)

    def scrobble(self, *songs: tuple[str, str, Any], **more: Any) -> Response:
        """Scrobble some songs by index."""
        form = {"method": "track.scrobble", "sk": self.sk, "api_key": "k", **more}
        for number, (artist, track, at) in enumerate(songs):
            form |= {f"artist[{number}]": artist, f"track[{number}]": track, f"timestamp[{number}]": str(at)}
        return self.client.post("/2.0/", data=form)


@pytest.fixture
def token(db: Database, admin: Listener) -> str:
    """A token of Ana's that may submit."""
    with db.write() as session:
        return tokens.add(session, admin.id, "Desk", ["submit"])[1]


@pytest.fixture
def player(app: FastAPI, stranger: TestClient, token: str) -> Player:
    """Ana's player, logged in."""
    return Player(app, tokens.session_key("Ana", token))


def logged(db: Database) -> list[tuple[str, str, int | None]]:
    """Everything logged, oldest first."""
    with db.read() as session:
        rows = session.execute(select(Song, Listen).join(Listen).order_by(Listen.listened_at)).all()
        return [(song.artist, song.title, listen.listened_at) for song, listen in rows]


def error_of(answer: Response) -> int:
    """The error's number, from JSON or XML."""
    if answer.headers["content-type"].startswith("application/json"):
        return int(answer.json()["error"])
    root = ElementTree.fromstring(answer.content)
    found = root.find("error")
    assert root.get("status") == "failed" and found is not None and found.text
    return int(found.get("code") or 0)


def md5(text: str) -> str:
    """As clients compute it."""
    return hashlib.md5(text.encode()).hexdigest()


def test_a_token_as_password_opens_a_session_by_either_way_and_both_are_the_same(
    app: FastAPI, stranger: TestClient, token: str
) -> None:
    player = Player(app)
    by_password = player.call("auth.getMobileSession", username="Ana", password=token, format="json").json()
    digest = md5("Ana" + md5(token))
    by_digest = player.call("auth.getMobileSession", username="Ana", authToken=digest, format="json").json()
    assert by_password == by_digest == {"session": {"name": "Ana", "key": digest, "subscriber": "0"}}
    xml = ElementTree.fromstring(player.call("auth.getMobileSession", username="ana", password=token).content)
    assert xml.get("status") == "ok" and xml.findtext("session/key") == digest and xml.findtext("session/name") == "Ana"


@pytest.mark.parametrize("form", ["json", "xml"])
def test_a_wrong_name_or_token_is_error_4_and_a_missing_one_6(
    app: FastAPI, stranger: TestClient, token: str, ben: Listener, form: str
) -> None:
    player = Player(app)
    for fields in (
        {"username": "Ben", "password": token}, {"username": "Ana", "password": "x"},
        {"username": "Ana", "authToken": "x"}, {"username": "Ana", "authToken": md5("Ana" + md5("password"))},
        {"username": "Ben", "authToken": md5("Ana" + md5(token))},
    ):  # fmt: skip
        answer = player.call("auth.getMobileSession", format=form, **fields)
        assert (answer.status_code, error_of(answer)) == (403, 4), fields
    for missing in ({}, {"username": "Ana"}, {"password": token}):
        assert error_of(player.call("auth.getMobileSession", format=form, **missing)) == 6


def test_a_program_waits_for_approval_on_our_page_and_is_let_in_once(
    app: FastAPI, me: TestClient, db: Database
) -> None:
    player = Player(app)
    secret = player.call("auth.getToken", format="json").json()["token"]
    waits = player.call("auth.getSession", token=secret, format="json")
    assert (waits.status_code, waits.json()["error"]) == (403, 14)
    path = f"/api/auth/?api_key=k&token={secret}"
    with TestClient(app, follow_redirects=False) as nobody:
        assert nobody.get(path).headers["location"].startswith("/login?next=%2Fapi%2Fauth%2F%3Fapi_key")
    assert "speak for you" in me.get(path).text
    allowed = {"token": secret, "name": "Old player", "scopes": "submit"}
    assert me.post("/api/auth/", data=allowed, headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert me.post("/api/auth/", data=allowed).status_code == 200
    player.sk = player.call("auth.getSession", token=secret, format="json").json()["session"]["key"]
    assert player.scrobble(("Queen", "39", AT), format="json").json()["scrobbles"]["@attr"]["accepted"] == 1
    assert player.call("auth.getSession", token=secret, format="json").json()["error"] == 15
    with db.read() as session:
        assert session.scalar(select(Listen.source)) == "Audioscrobbler: Old player"


def test_one_scrobble_is_answered_by_an_object_and_several_by_a_list(player: Player, db: Database) -> None:
    one = player.scrobble(("Nina Simone", "Sinnerman", AT), format="json").json()["scrobbles"]
    assert one["@attr"] == {"accepted": 1, "ignored": 0}
    assert one["scrobble"]["track"] == {"#text": "Sinnerman", "corrected": "0"}
    assert one["scrobble"]["timestamp"] == str(AT)
    assert one["scrobble"]["ignoredMessage"] == {"code": "0", "#text": ""}
    two = player.scrobble(("Queen", "39", AT + 1000), ("Queen", "Innuendo", AT + 2000), format="json").json()
    assert [s["track"]["#text"] for s in two["scrobbles"]["scrobble"]] == ["39", "Innuendo"]
    assert [row[1:] for row in logged(db)] == [("Sinnerman", AT), ("39", AT + 1000), ("Innuendo", AT + 2000)]
    player.scrobble(("Queen", "39", AT + 1000))
    assert len(logged(db)) == 3, "scrobbling again adds nothing"


def test_xml_is_the_answer_unless_json_is_asked_for(player: Player) -> None:
    answer = player.scrobble(("Queen", "<39> & \x0b", AT), ("Queen", "39", AT))
    assert answer.headers["content-type"].startswith("text/xml")
    root = ElementTree.fromstring(answer.content)
    scrobbles = root.find("scrobbles")
    assert scrobbles is not None and (scrobbles.get("accepted"), scrobbles.get("ignored")) == ("1", "1")
    assert [s.findtext("track") for s in scrobbles] == ["<39> & \ufffd", "39"]
    codes = [found.get("code") for s in scrobbles if (found := s.find("ignoredMessage")) is not None]
    assert codes == ["2", "0"]


def test_what_cannot_be_a_listen_is_ignored_with_its_reason_and_the_rest_is_taken(player: Player, db: Database) -> None:
    songs = [
        ("", "39", AT), ("Queen", " ", AT), ("Queen", "39", 1_000_000_000), ("Queen", "39", now() + 9_000),
        ("Queen", "39", AT), ("x" * 501, "39", AT), ("Queen", "39", 2**62), ("Queen", "39", -5),
    ]  # fmt: skip
    answer = player.scrobble(*songs, format="json").json()["scrobbles"]
    assert answer["@attr"] == {"accepted": 1, "ignored": 7}
    assert [s["ignoredMessage"]["code"] for s in answer["scrobble"]] == list("12340143")
    assert all(s["ignoredMessage"]["#text"] for s in answer["scrobble"] if s["ignoredMessage"]["code"] != "0")
    assert logged(db) == [("Queen", "39", AT)]


def test_fifty_are_taken_at_once_in_the_order_of_their_numbers_and_one_more_is_not(
    player: Player, db: Database
) -> None:
    fifty = [("Queen", f"Song {n}", AT + 1000 * n) for n in range(50)]
    assert error_of(player.scrobble(*fifty, ("Queen", "One more", AT))) == 6
    assert logged(db) == []
    answer = player.scrobble(*fifty, format="json").json()["scrobbles"]
    assert answer["@attr"]["accepted"] == 50
    assert [s["track"]["#text"] for s in answer["scrobble"]] == [song for _, song, _ in fifty]
    assert [row[2] for row in logged(db)] == [at for *_, at in fifty]


def test_album_length_and_a_scrobble_without_a_number_are_taken(player: Player, db: Database) -> None:
    player.call("track.scrobble", artist="Queen", track="39", timestamp=AT, album="A Night at the Opera", duration=211)
    player.call(
        "track.scrobble", artist="Queen", track="39", timestamp=AT + 900, album="\x00", duration="long", mbid="x"
    )
    with db.read() as session:
        first, second = session.scalars(select(Listen).order_by(Listen.listened_at))
        assert (first.album, first.duration_ms, first.ended) == ("A Night at the Opera", 211_000, "played")
        assert (second.album, second.duration_ms) == (None, None), "a strange album does not cost the listen"


def test_what_is_playing_is_noted_and_no_listen(player: Player, db: Database, admin: Listener) -> None:
    answer = player.call(
        "track.updateNowPlaying", artist="Queen", track="39", album="Opera", duration=211, format="json"
    )
    assert answer.json()["nowplaying"]["track"] == {"#text": "39", "corrected": "0"}
    with db.read() as session:
        now_playing = playing.of(session, admin.id)
        assert now_playing is not None
        assert (now_playing.artist, now_playing.title, now_playing.album) == ("Queen", "39", "Opera")
    assert logged(db) == []


def test_love_and_unlove_and_other_verdicts_stay(player: Player, db: Database, admin: Listener) -> None:
    assert player.call("track.love", artist="Queen", track="39", format="json").json() == {}
    assert ElementTree.fromstring(player.call("track.love", artist="Queen", track="39").content).get("status") == "ok"
    with db.read() as session:
        (loved,) = session.scalars(select(Feedback))
        assert loved.verdict == "love"
    player.call("track.unlove", artist="QUEEN", track="39")
    player.call("track.unlove", artist="Nobody", track="Never heard")
    with db.write() as session:
        assert session.scalars(select(Feedback)).all() == []
        assert session.scalar(select(Song).where(Song.artist == "Nobody")) is None
        listens.say(session, admin.id, loved.song_id, "dislike")
    player.call("track.unlove", artist="Queen", track="39")
    with db.read() as session:
        assert session.scalars(select(Feedback.verdict)).all() == ["dislike"]


@pytest.mark.parametrize("form", ["json", "xml"])
def test_errors_have_their_numbers(app: FastAPI, player: Player, db: Database, admin: Listener, form: str) -> None:
    assert error_of(player.call("user.getNothing", format=form)) == 3
    assert error_of(player.client.get("/2.0/", params={"format": form})) == 3
    for missing in ({"artist": "a", "track": "b"}, {"artist": "a", "timestamp": AT}, {"track": "a", "timestamp": AT}):
        assert error_of(player.call("track.scrobble", format=form, **missing)) == 6
    assert error_of(player.call("track.scrobble", artist="a", track="b", timestamp="soon", format=form)) == 6
    assert error_of(player.call("track.love", artist="a", format=form)) == 6
    for sk in ("", "nonsense", "x" * 5_000):
        assert error_of(Player(app, sk).call("track.love", artist="a", track="b", format=form)) == 9
    with db.write() as session:
        reads = tokens.add(session, admin.id, "Reader", ["read"])[1]
    assert error_of(Player(app, reads).call("track.love", artist="a", track="b", format=form)) == 4
    assert logged(db) == []


def test_a_revoked_token_must_log_in_again(player: Player, db: Database, admin: Listener) -> None:
    with db.write() as session:
        (made,) = tokens.mine(session, admin.id)
        tokens.revoke(session, admin.id, made.id)
    answer = player.scrobble(("Queen", "39", AT), format="json")
    assert (answer.status_code, answer.json()["error"]) == (403, 9) and logged(db) == []


def test_a_busy_server_is_503_and_error_16_and_too_many_requests_29(
    app: FastAPI, player: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.errors import TooBusy

    def busy(*_: object) -> None:
        raise TooBusy("The database is busy; please try again in a moment.")

    with monkeypatch.context() as patch:
        patch.setattr(submitting, "submit", busy)
        answer = player.scrobble(("Queen", "39", AT), format="json")
    assert (answer.status_code, answer.json()["error"]) == (503, 16)
    app.state.earshot.rate.__init__(limit=0)
    answer = player.scrobble(("Queen", "39", AT), format="json")
    assert (answer.status_code, answer.json()["error"]) == (503, 29) and answer.headers["retry-after"]


def test_the_signature_is_not_asked_for_and_the_address_may_lack_its_last_slash(player: Player, db: Database) -> None:
    answer = player.call("track.scrobble", path="/2.0", artist="Queen", track="39", timestamp=AT, api_sig="wrong")
    assert answer.status_code == 200 and len(logged(db)) == 1


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff", b"method=%ff", b"a=1&" * 5_000, b"method=track.scrobble&artist[0]=a&artist[99999]=b", b"=&=&", b"%",
     b"method=track.scrobble&sk=%00", b"method=auth.getMobileSession&username=%00&password=%00", b"x" * 3_000_000,
     b"method=auth.getSession&token=%ED%A0%80", b'{"method":"track.love"}', b"method=auth.getSession&format=json"],
    ids=range(13),
)  # fmt: skip
def test_hostile_forms_are_errors_and_never_a_bug_of_ours(player: Player, body: bytes) -> None:
    for query in ("", "?format=json", "?method=%ff", "?format=json&method=track.scrobble"):
        answer = player.client.post(f"/2.0/{query}", content=body)
        assert answer.status_code < 500 and error_of(answer) in (3, 4, 6, 9, 14, 15), (query, answer.text)
