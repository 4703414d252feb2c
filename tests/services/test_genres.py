"""Genres of songs that come later: the artist's own, else a guess that is marked and made once."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from app.db import Database
from app.errors import BadInput
from app.lm.engine import Engine
from app.lm.labels import Vote, middles
from app.lm.song_text import song_text
from app.services import catalogue, genres
from app.tables import Artist, Song


def add(db: Database, engine: Engine, artist: str, title: str) -> Song:
    """A song by name, encoded."""
    with db.write() as session:
        song, _ = catalogue.find_or_add(session, artist, title, source="log")
        engine.encode_songs(catalogue.texts(session, song_text, [song.id]))
    return song


def again(db: Database, song: Song) -> Song:
    """The song as it is now."""
    with db.read() as session:
        return catalogue.song(session, song.id)


def test_a_known_artists_new_song_gets_the_artists_genres(db: Database, engine: Engine) -> None:
    with db.read() as session:
        facts = next(a for a in session.scalars(select(Artist)) if a.genres)
    song = add(db, engine, facts.name, "A Song Nobody Knows")
    assert (song.genres, song.genres_from) == (facts.genres, "given")
    assert genres.infer(db, engine, song_text, [song.id]) == 0


def test_a_sure_guess_is_marked_encoded_and_made_once(
    db: Database, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(genres, "SURE", 0.01)
    song = add(db, engine, "An Unknown Orchestra", "Waltz")
    assert genres.infer(db, engine, song_text) == 1
    now = again(db, song)
    assert now.genres and len(now.genres) <= 2 and now.genres_from == "inferred"
    with db.read() as session:
        assert engine.vectors.stale(catalogue.texts(session, song_text, [song.id])) == []
    assert genres.infer(db, engine, song_text) == 0


def test_an_unsure_guess_is_not_made(db: Database, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(genres, "SURE", 1.01)
    song = add(db, engine, "An Unknown Orchestra", "Waltz")
    assert genres.infer(db, engine, song_text) == 0
    assert again(db, song).genres == []


def test_a_listeners_word_is_never_overwritten_not_even_none(
    db: Database, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(genres, "SURE", 0.01)
    song = add(db, engine, "An Unknown Orchestra", "Waltz")
    with db.write() as session:
        genres.edit(session, song.id, "")
    assert genres.infer(db, engine, song_text) == 0
    assert (again(db, song).genres, again(db, song).genres_from) == ([], "listener")


def test_a_guess_is_no_label_for_the_next_guess(db: Database, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(genres, "SURE", 0.01)
    add(db, engine, "An Unknown Orchestra", "Waltz")
    genres.infer(db, engine, song_text)
    with db.read() as session:
        assert "an unknown orchestra" not in genres._labelled(session)


def test_a_song_that_is_not_encoded_is_left_alone(
    db: Database, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(genres, "SURE", 0.01)
    with db.write() as session:
        song, _ = catalogue.find_or_add(session, "An Unknown Orchestra", "Waltz", source="log")
    assert genres.infer(db, engine, song_text) == 0
    assert again(db, song).genres_from == "given"


def test_the_starter_catalogue_replaces_a_guess(db: Database, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.starter.reading import StarterArtist, StarterSong

    monkeypatch.setattr(genres, "SURE", 0.01)
    song = add(db, engine, "An Unknown Orchestra", "Waltz")
    genres.infer(db, engine, song_text)
    block = StarterArtist("An Unknown Orchestra", "AT", None, None, ("jazz",), (), (), "x:1")
    block.songs.append(StarterSong("Waltz", 1900, ("jazz",), (), "x:2"))
    with db.write() as session:
        assert catalogue.load_starter(session, [block]) == (0, 1)
    assert (again(db, song).genres, again(db, song).genres_from) == (["jazz"], "given")


def test_genres_are_read_as_people_write_them() -> None:
    assert genres.checked(" R&B,  Hip  Hop ,soul, SOUL,") == ["r&b", "hip hop", "soul"]
    assert genres.checked("") == []
    with pytest.raises(BadInput, match="Did you mean shoegaze"):
        genres.checked("shoegase")


def test_the_nearest_voters_decide_and_no_voters_decide_nothing() -> None:
    import numpy as np

    units = np.eye(4, dtype=np.float32)
    vote = Vote(units[:3], [{"a", "b"}, {"b"}, {"c"}])
    (found,) = vote.ask(units[:1])
    assert {label for label, _ in found} == {"a", "b"}
    assert Vote(units[:0], []).ask(units[:2]) == [[], []]
    assert middles(units, []).shape == (0, 4)
    assert np.allclose(middles(units, [np.array([0, 1])]), [[0.5**0.5, 0.5**0.5, 0, 0]])
