"""Looking around: genres, decades, artists, songs, sharing, and correcting genres."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import quote

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from app.db import Database
from app.lm.engine import Engine
from app.lm.song_text import song_text
from app.services import catalogue, hiding, listens
from app.tables import Listener, Song, SongGenre

HOSTILE = '"><img src=x onerror=alert(1)><script>alert(2)</script>'


def links(html: str, start: str) -> list[str]:
    """Addresses in a page that begin so."""
    return re.findall(rf'href="({re.escape(start)}[^"]*)"', html)


def a_song(db: Database, **facts: object) -> Song:
    """A song of the small catalogue with genres and a year."""
    with db.read() as session:
        wanted = select(Song).filter_by(**facts).where(Song.year.is_not(None)).order_by(Song.id)
        return next(song for song in session.scalars(wanted) if song.genres)


def test_browse_leads_to_every_genre_decade_and_letter(me: TestClient, db: Database) -> None:
    html = me.get("/browse").text
    with db.read() as session:
        genres = set(session.scalars(select(SongGenre.genre)))
    assert {f"/genres/{quote(g, safe='')}" for g in genres} == set(links(html, "/genres/"))
    assert "/decades/1990" in links(html, "/decades/")
    assert len(links(html, "/artists?letter=")) == 28
    for address in [*links(html, "/genres/")[:5], *links(html, "/decades/"), *links(html, "/artists")[:40]]:
        assert me.get(address).status_code == 200, address


def test_a_genres_page_shows_its_songs_one_of_each_artist_first(me: TestClient, db: Database) -> None:
    with db.read() as session:
        songs = [s for s in session.scalars(select(Song)) if "pop" in s.genres]
    html = me.get("/genres/pop").text
    shown = [int(address.rsplit("/", 1)[1]) for address in links(html, "/songs/")]
    assert set(shown) <= {s.id for s in songs}
    assert len(shown) == min(50, len(songs)) == len(set(shown))
    artist_of = {s.id: s.artist_key for s in songs}
    first = [artist_of[i] for i in shown[: len(set(artist_of.values()))]]
    assert len(set(first)) == len(first)


def test_pages_of_a_long_list_hold_every_song_once(me: TestClient, db: Database) -> None:
    with db.write() as session:
        for n in range(120):
            song, _ = catalogue.find_or_add(session, f"Artist {n % 7}", f"Track {n}", source="log")
            song.year = 1923
    seen: list[str] = []
    for number in range(1, 4):
        seen += links(me.get(f"/decades/1920?p={number}").text, "/songs/")
    assert len(seen) == len(set(seen)) == 120
    assert links(me.get("/decades/1920?p=999").text, "/songs/") == seen[100:]
    assert links(me.get("/decades/1920?p=-5").text, "/songs/") == seen[:50]


@pytest.mark.parametrize(
    "address",
    ["/genres/polka%20metal", "/genres/%00", "/decades/1965", "/decades/1800", "/decades/x", "/decades/²⁰⁰⁰",
     "/artists/nobody", "/artists/%00", "/artists/%ff", "/artists?letter=%00", "/artists?letter=ab",
     "/songs/99999999", "/songs/-1", "/songs/99999999999999999999"],
)  # fmt: skip
def test_what_is_not_there_is_a_plain_404(me: TestClient, address: str) -> None:
    assert me.get(address).status_code == 404


def test_strangers_are_sent_to_sign_in(stranger: TestClient) -> None:
    for address in ("/browse", "/artists", "/genres/pop", "/decades/1990", "/artists/x", "/songs/1"):
        assert stranger.get(address).headers["location"].startswith("/login")


def test_an_artists_page_has_songs_and_related_artists_linked_when_they_are_here(me: TestClient, db: Database) -> None:
    from app.tables import Artist

    with db.write() as session:
        one = session.scalars(select(Artist).order_by(Artist.key)).first()
        two = session.scalars(select(Artist).order_by(Artist.key.desc())).first()
        assert one is not None and two is not None
        one.related = [two.name, "Nobody Here <b>"]
        key, other = one.key, two.key
        count = len(list(session.scalars(select(Song).where(Song.artist_key == key))))
    html = me.get(f"/artists/{quote(key, safe='')}").text
    assert len(links(html, "/songs/")) == count
    assert f"/artists/{quote(other, safe='')}" in links(html, "/artists/")
    assert "Nobody Here &lt;b&gt;" in html


@pytest.mark.parametrize(
    ("artist", "letter"),
    [("Édith Zzz", "e"), ("The Zzz", "z"), ("42 Zzz", "0–9"), ("Øzzz", "other"), ("中島 Zzz", "other"), ("Ḿzz", "m")],
)
def test_an_artist_stands_under_their_letter(me: TestClient, db: Database, artist: str, letter: str) -> None:
    with db.write() as session:
        song, _ = catalogue.find_or_add(session, artist, "Song", source="log")
    found: list[str] = []
    for number in range(1, 9):
        found += links(me.get(f"/artists?letter={quote(letter)}&p={number}").text, "/artists/")
    assert f"/artists/{quote(song.artist_key, safe='')}" in found


@pytest.mark.parametrize("artist", ["AC/DC?", HOSTILE, "50% & #1", "٭ علي", "a;b", "a\\b", "//evil.example"])
def test_any_name_has_pages_that_work_and_run_nothing(me: TestClient, db: Database, artist: str) -> None:
    with db.write() as session:
        song, _ = catalogue.find_or_add(session, artist, HOSTILE, source="log")
    page = me.get(f"/songs/{song.id}")
    assert page.status_code == 200
    assert "<img src=x" not in page.text and "<script>alert" not in page.text
    address = links(page.text, "/artists/")[0]
    there = me.get(address)
    assert there.status_code == 200
    assert f"/songs/{song.id}" in links(there.text, "/songs/")
    assert "<img src=x" not in there.text and "<script>alert" not in there.text


def test_an_artist_whose_key_reads_as_a_name_of_another_has_a_page_and_can_be_hidden(
    me: TestClient, db: Database
) -> None:
    with db.write() as session:
        both, alone = (
            catalogue.find_or_add(session, name, "Song", source="log")[0].id for name in ("The The Zzz", "Zzz")
        )
    (address,) = set(links(me.get(f"/songs/{both}").text, "/artists/"))
    assert f"/songs/{both}" in links(me.get(address).text, "/songs/")
    assert me.post("/artists/hide", data={"artist": "the zzz"}).status_code == 303
    with db.read() as session:
        (who,) = session.scalars(select(Listener.id))
        assert hiding.hidden_songs(session, who) == {both}
        hiding.show_again(session, who, "the zzz")
        assert hiding.hidden_songs(session, who) == set()
        hiding.hide(session, who, "The Zzz")  # no key, but a name
        session.flush()
        assert hiding.hidden_songs(session, who) == {alone}


def test_a_songs_page_shows_facts_nearest_songs_and_buttons(me: TestClient, db: Database, engine: Engine) -> None:
    song = a_song(db)
    html = me.get(f"/songs/{song.id}").text
    assert {f"/genres/{quote(g, safe='')}" for g in song.genres} <= set(links(html, "/genres/"))
    assert links(html, "/decades/") == [f"/decades/{(song.year or 0) // 10 * 10}"]
    near = [int(address.rsplit("/", 1)[1]) for address in links(html, "/songs/")]
    assert near and near[0] in engine.nearest(song.id, 3) and song.id not in near
    me.post("/listens", data={"song_id": song.id, "back": f"/songs/{song.id}"})
    me.post(f"/songs/{song.id}/feedback", data={"verdict": "love", "back": f"/songs/{song.id}"})
    html = me.get(f"/songs/{song.id}").text
    assert "1 play<" in html and 'aria-pressed="true"' in html


def test_a_songs_page_shows_how_the_model_reads_it(me: TestClient, db: Database, engine: Engine) -> None:
    with db.write() as session:
        unheard, _ = catalogue.find_or_add(session, "Qwxyz Tfft", HOSTILE, source="log")
        unheard_id = unheard.id
    known = a_song(db)
    for song_id, artist in ((known.id, known.artist), (unheard_id, None)):
        html = me.get(f"/songs/{song_id}").text
        with db.read() as session:
            ((_, text),) = catalogue.texts(session, song_text, [song_id])
        read = re.search(r'<p class="pieces">(.*?)</p>', html)
        assert read is not None
        shown = [unescape(piece) for piece in re.findall(r"<code[^>]*>(.*?)</code>", read[1])]
        expected = engine.base.tokenizer.convert_ids_to_tokens(engine.base.tokenizer(text)["input_ids"])
        assert shown == ([artist, *expected[1:]] if artist else expected)
        assert ('class="word"' in read[1]) is ("was added for music" in html) is bool(artist)
        assert HOSTILE not in html


def test_plays_are_seen_by_their_listener_only_until_they_share(
    me: TestClient, friend: TestClient, db: Database, ben: Listener
) -> None:
    song = a_song(db)
    with db.write() as session:
        listens.log(session, ben.id, song_id=song.id, at=1_700_000_000)
        listens.log(session, ben.id, song_id=song.id, at=1_700_000_100)
        listens.log(session, ben.id, song_id=song.id, at=1_700_000_200, ended="skipped")
    mine = f"/songs/{song.id}"
    assert "2 plays" not in me.get(mine).text
    assert "2 plays" in friend.get(mine).text
    assert friend.post("/friends/sharing", data={"sharing": "circle"}).status_code == 303
    assert "2 plays" in me.get(mine).text and "Ben" in me.get(mine).text
    assert "shares" in me.get("/friends").text
    friend.post("/friends/sharing", data={"sharing": "off"})
    assert "2 plays" not in me.get(mine).text


def test_sharing_is_off_or_circle_and_each_listeners_own(me: TestClient, db: Database, ben: Listener) -> None:
    assert me.post("/friends/sharing", data={"sharing": "world"}).status_code == 422
    me.post("/friends/sharing", data={"sharing": "circle"})
    with db.read() as session:
        assert session.get_one(Listener, ben.id).sharing == "off"


def test_what_nobody_shares_does_not_order_the_artists(
    me: TestClient, friend: TestClient, db: Database, ben: Listener
) -> None:
    song = a_song(db)
    with db.write() as session:
        for at in range(5):
            listens.log(session, ben.id, song_id=song.id, at=1_700_000_000 + at)
    before = links(me.get("/artists").text, "/artists/")
    assert links(friend.get("/artists").text, "/artists/")[0] == f"/artists/{quote(song.artist_key, safe='')}"
    friend.post("/friends/sharing", data={"sharing": "circle"})
    after = links(me.get("/artists").text, "/artists/")
    assert after[0] == f"/artists/{quote(song.artist_key, safe='')}"
    assert before != after


def test_a_listener_corrects_genres_and_the_song_is_encoded_anew(me: TestClient, db: Database, engine: Engine) -> None:
    song = a_song(db)
    answer = me.post(f"/songs/{song.id}/genres", data={"genres": " Jazz, bossa nova ,jazz,"})
    assert answer.headers["location"] == f"/songs/{song.id}"
    with db.read() as session:
        now = catalogue.song(session, song.id)
        assert (now.genres, now.genres_from) == (["jazz", "bossa nova"], "listener")
        assert engine.vectors.stale(catalogue.texts(session, song_text, [song.id])) == []
        assert set(session.scalars(select(SongGenre.genre).where(SongGenre.song_id == song.id))) == set(now.genres)
    assert "by a listener" in me.get(f"/songs/{song.id}").text


@pytest.mark.parametrize(
    ("written", "said"),
    [("jaz", "Did you mean jazz?"), (HOSTILE, "not in the list"), ("pop,rock,jazz,folk,soul,funk", "5 genres at most"),
     ("pop\x00", "control character"), ("\ud800", "not in the list")],
)  # fmt: skip
def test_genres_outside_the_list_are_refused_and_what_was_typed_is_kept(
    me: TestClient, db: Database, written: str, said: str
) -> None:
    song = a_song(db)
    sent = written.encode("utf-8", "surrogatepass")
    answer = me.post(
        f"/songs/{song.id}/genres",
        content=b"genres=" + quote(sent).encode(),
        headers={"content-type": "application/x-www-form-urlencoded"},
    )
    assert answer.status_code == 422
    assert said in answer.text and "<img src=x" not in answer.text
    with db.read() as session:
        assert catalogue.song(session, song.id).genres == song.genres


def test_the_starter_catalogue_respects_a_listeners_genres(me: TestClient, db: Database, starter: list) -> None:  # type: ignore[type-arg]
    song = a_song(db, source="starter")
    me.post(f"/songs/{song.id}/genres", data={"genres": "novelty"})
    with db.write() as session:
        assert catalogue.load_starter(session, starter) == (0, 0)
        assert catalogue.song(session, song.id).genres == ["novelty"]


def test_songs_and_artists_are_linked_wherever_they_are_listed(me: TestClient, db: Database) -> None:
    song = a_song(db)
    me.post("/listens", data={"song_id": song.id})
    artist = f"/artists/{quote(song.artist_key, safe='')}"
    for address in ("/", "/listens", f"/listens/new?q={quote(song.title)}"):
        html = me.get(address).text
        assert f"/songs/{song.id}" in links(html, "/songs/") and artist in links(html, "/artists/"), address
    assert links(me.get("/recommend").text, "/songs/")
