"""Completing songs from MusicBrainz, against a double that speaks its format over a real socket."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import delete, select

from app.db import Database
from app.errors import MusicBrainzProblem
from app.lm.engine import Engine
from app.lm.song_text import song_text
from app.services import catalogue, submitting
from app.services.musicbrainz import MusicBrainz, complete_one
from app.services.recommending import EngineTypes
from app.settings import Settings
from app.tables import Song
from app.tables_players import SongLookup
from app.worker import Worker

OLD, NEW = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"


def recording(mbid: str, title: str, date: str, score: int = 100, artist: str = "Nobody At All") -> dict[str, Any]:
    """A recording as the search gives it."""
    credit = [{"name": artist, "artist": {"id": OLD, "name": artist}}]
    return {"id": mbid, "score": score, "title": title, "length": 200_000, "first-release-date": date,
            "artist-credit": credit}  # fmt: skip


class Double(ThreadingHTTPServer):
    """MusicBrainz' search and look-up; keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, dict[str, list[str]], str]] = []
        self.found = [recording(NEW, "A Song", "1999-05-01"), recording(OLD, "A Song", "1971"),
                      recording(NEW, "A Song (live)", "1960"), recording(NEW, "A Song", "1950", score=40),
                      recording(NEW, "A Song", "1940", artist="Somebody Else")]  # fmt: skip
        self.genres: Any = [
            {"name": "soul", "count": 3},
            {"name": "Jazz", "count": 9},
            {"name": "no genre", "count": 99},
        ]
        self.answer: tuple[int, bytes] | None = None

    @property
    def url(self) -> str:
        """Its address, as MusicBrainz' own ends."""
        return f"http://127.0.0.1:{self.server_address[1]}/ws/2"


class Handler(BaseHTTPRequestHandler):
    """Answers GET."""

    server: Double

    def log_message(self, *_: object) -> None:
        """Be quiet."""

    def do_GET(self) -> None:
        """One request."""
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        self.server.asked.append((parts.path, query, self.headers["User-Agent"]))
        status, body = self.server.answer or (200, b"")
        if not body and parts.path == "/ws/2/recording":
            body = json.dumps({"count": 5, "recordings": self.server.found}).encode()
        elif not body:
            body = json.dumps({"id": parts.path.rsplit("/", 1)[1], "title": "A Song", "genres": self.server.genres,
                               "first-release-date": "1971-02-03"}).encode()  # fmt: skip
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def double() -> Iterator[Double]:
    """The double, running."""
    server = Double()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now, self.slept = 100.0, list[float]()

    def sleep(self, seconds: float) -> None:
        """Move on."""
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def asks(double: Double) -> MusicBrainz:
    """The client, without waiting."""
    clock = Clock()
    return MusicBrainz(double.url, lambda: clock.now, clock.sleep)


@pytest.fixture
def add(db: Database) -> Callable[..., int]:
    """A function that adds a song as a listener's log does."""

    def one(artist: str = "Nobody At All", title: str = "A Song", **facts: Any) -> int:
        with db.write() as session:
            song, _ = catalogue.find_or_add(session, artist, title, source="log")
            for name, value in facts.items():
                setattr(song, name, value)
            return song.id

    return one


def song_of(db: Database, song_id: int) -> Song:
    """A song as it is now."""
    with db.read() as session:
        return session.get_one(Song, song_id)


def test_the_oldest_recording_of_that_very_song_completes_it(
    db: Database, double: Double, asks: MusicBrainz, add: Callable[..., int]
) -> None:
    song_id = add()
    assert complete_one(db, asks) == (song_id, True)
    song = song_of(db, song_id)
    assert (song.year, song.genres, song.genres_from) == (1971, ["jazz", "soul"], "given")
    with db.read() as session:
        assert submitting.song_of(session, OLD) == song_id
    (path, query, agent), (second, more, _) = double.asked
    assert path == "/ws/2/recording" and query["query"] == ['recording:"A Song" AND artist:"Nobody At All"']
    assert query["fmt"] == more["fmt"] == ["json"] and second == f"/ws/2/recording/{OLD}"
    assert "Earshot" in agent


def test_each_song_is_asked_for_once_whatever_the_answer(
    db: Database, double: Double, asks: MusicBrainz, add: Callable[..., int]
) -> None:
    known, unknown = add(), add(title="Never Recorded")
    double.genres = []
    assert complete_one(db, asks) == (unknown, False) and complete_one(db, asks) == (known, True)
    requests = len(double.asked)
    assert complete_one(db, asks) is None and len(double.asked) == requests
    with db.read() as session:
        answers = {row.song_id: row.answer for row in session.scalars(select(SongLookup))}
    assert answers == {unknown: None, known: {"mbid": OLD, "year": 1971, "genres": []}}


def test_a_recording_that_a_player_named_is_looked_up_without_a_search(
    db: Database, double: Double, asks: MusicBrainz, add: Callable[..., int]
) -> None:
    song_id = add(title="Called Otherwise There")
    with db.write() as session:
        submitting.note_recording(session, NEW, song_id)
    assert complete_one(db, asks) == (song_id, True)
    assert [path for path, *_ in double.asked] == [f"/ws/2/recording/{NEW}"]


def test_what_was_given_or_said_by_a_listener_stays(db: Database, asks: MusicBrainz, add: Callable[..., int]) -> None:
    said = add(genres=["folk"], genres_from="listener")
    assert complete_one(db, asks) == (said, True)
    song = song_of(db, said)
    assert (song.year, song.genres, song.genres_from) == (1971, ["folk"], "listener")
    add(title="Complete", year=1980, genres=["rock"])
    assert complete_one(db, asks) is None, "songs that lack nothing are not asked for"


def test_there_is_one_request_a_second_at_most(double: Double) -> None:
    clock = Clock()
    server = MusicBrainz(double.url, lambda: clock.now, clock.sleep)
    server.facts("Nobody At All", "A Song")
    clock.now += 0.25
    server.facts("Nobody At All", "A Song")
    assert len(double.asked) == 4 and clock.slept == [1.0, 0.75, 1.0]


def test_quotes_and_backslashes_do_not_leave_the_query(double: Double, asks: MusicBrainz) -> None:
    assert asks.facts('A"B', "C\\ OR *") is None
    assert double.asked[0][1]["query"] == ['recording:"C\\\\ OR *" AND artist:"A\\"B"']


@pytest.mark.parametrize(
    "answer",
    [(503, b'{"error": "rate"}'), (500, b"x"), (200, b"<html>"), (200, b"[]"), (200, b"\xff"), (200, b"[" * 100_000)],
    ids=range(6),
)
def test_an_answer_that_is_none_leaves_the_song_for_another_time(
    db: Database, double: Double, asks: MusicBrainz, add: Callable[..., int], answer: tuple[int, bytes]
) -> None:
    song_id = add()
    double.answer = answer
    with pytest.raises(MusicBrainzProblem):
        complete_one(db, asks)
    double.answer = None
    assert complete_one(db, asks) == (song_id, True)


def test_a_song_that_is_always_refused_keeps_no_other_from_being_asked_for(
    db: Database, double: Double, asks: MusicBrainz, add: Callable[..., int]
) -> None:
    others = [add(title="One"), add(title="Two")]
    refused = add(title="Refused")
    double.answer = (414, b"")
    with pytest.raises(MusicBrainzProblem):
        complete_one(db, asks)
    double.answer, double.found = None, []
    assert [complete_one(db, asks) for _ in range(4)] == [
        (others[1], False),
        (others[0], False),
        (refused, False),
        None,
    ]


def test_a_song_that_goes_while_it_is_asked_for_is_let_go(
    db: Database, double: Double, add: Callable[..., int]
) -> None:
    song_id = add()

    def gone(_: float) -> None:  # before the second request, as the real one waits there
        with db.write() as session:
            session.execute(delete(Song).where(Song.id == song_id))

    assert complete_one(db, MusicBrainz(double.url, lambda: 0.0, gone)) == (song_id, False)


def test_a_server_that_is_not_there_is_a_named_problem(double: Double) -> None:
    double.server_close()
    with pytest.raises(MusicBrainzProblem):
        MusicBrainz(double.url).facts("a", "b")


def test_strange_values_within_an_answer_are_left_out(
    db: Database, double: Double, asks: MusicBrainz, add: Callable[..., int]
) -> None:
    song_id = add()
    double.found = [
        {},
        {"score": "x"},
        {"score": 100, "title": 5, "artist-credit": [{}]},
        recording("no id", "A Song", ""),
    ]
    double.found[-1]["id"] = None
    assert complete_one(db, asks) == (song_id, False)


def test_it_is_off_unless_it_is_switched_on(
    db: Database, engine: Engine, double: Double, add: Callable[..., int], kinds: EngineTypes
) -> None:
    song_id = add()
    assert Settings().musicbrainz_url == ""
    assert not Worker(db, engine.store, lambda: engine, kinds).complete()
    assert double.asked == [] and song_of(db, song_id).year is None


def test_between_jobs_the_worker_completes_a_song_and_encodes_it_anew(
    db: Database, engine: Engine, double: Double, add: Callable[..., int], kinds: EngineTypes
) -> None:
    song_id = add()
    with db.read() as session:
        engine.encode_songs(catalogue.texts(session, song_text, [song_id]))
    worker = Worker(db, engine.store, lambda: engine, kinds, musicbrainz_url=double.url)
    worker._musicbrainz = MusicBrainz(double.url, lambda: 0.0, lambda _: None)
    assert worker.complete() and song_of(db, song_id).genres == ["jazz", "soul"]
    with db.read() as session:
        changed = catalogue.texts(session, song_text, [song_id])
    assert engine.encode_songs(changed) == 0, "its new text is encoded already"
    assert not worker.complete(), "nothing else lacks anything"
    double.answer = (503, b"{}")
    add(title="Another")
    worker._rests_until = 0.0
    assert not worker.complete(), "a problem is no reason to stop, nor to ask again at once"
    asked = len(double.asked)
    assert not worker.complete() and len(double.asked) == asked
