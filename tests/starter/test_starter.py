"""The starter catalogue: readable, honest, varied, and the same however often it is loaded."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import select

from app.db import Database
from app.services import catalogue, preparing
from app.services.text import LONGEST, artist_key, clean, title_key
from app.starter.reading import StarterArtist, StarterError, read, read_lines, vocabulary
from app.tables import Artist, Song

# A single or an album may come out some years after a band's end or an artist's death.
YEARS_AFTER = 3


@pytest.fixture(scope="module")
def artists() -> list[StarterArtist]:
    """The whole catalogue."""
    return read()


def test_every_line_reads_and_every_name_is_clean(artists: list[StarterArtist]) -> None:
    for artist in artists:
        assert clean(artist.name, artist.where) == artist.name
        assert artist.songs, f"{artist.where}: {artist.name} has no song"
        for song in artist.songs:
            assert clean(song.title, song.where) == song.title
            assert len(song.title) <= LONGEST


def test_only_genres_and_moods_of_the_vocabulary_are_used(artists: list[StarterArtist]) -> None:
    genres, moods = vocabulary()
    wrong = [(a.where, g) for a in artists for g in a.genres if g not in genres]
    wrong += [(s.where, g) for a in artists for s in a.songs for g in s.genres if g not in genres]
    wrong += [(s.where, m) for a in artists for s in a.songs for m in s.moods if m not in moods]
    assert wrong == []


def test_every_song_has_two_to_five_genres_and_one_to_three_moods(artists: list[StarterArtist]) -> None:
    wrong = [
        (s.where, s.genres, s.moods)
        for a in artists
        for s in a.songs
        if not 2 <= len(s.genres) <= 5 or not 1 <= len(s.moods) <= 3 or len(set(s.genres)) != len(s.genres)
    ]
    assert wrong == []


def test_no_artist_has_two_blocks(artists: list[StarterArtist]) -> None:
    times = Counter(artist_key(a.name) for a in artists)
    assert [(a.where, a.name) for a in artists if times[artist_key(a.name)] > 1] == []


def test_no_song_stands_twice_after_folding(artists: list[StarterArtist]) -> None:
    times = Counter((artist_key(a.name), title_key(s.title)) for a in artists for s in a.songs)
    twice = [
        (s.where, a.name, s.title)
        for a in artists
        for s in a.songs
        if times[(artist_key(a.name), title_key(s.title))] > 1
    ]
    assert twice == []


def test_years_lie_in_the_artists_active_span(artists: list[StarterArtist]) -> None:
    wrong = [
        (s.where, s.title, s.year, a.active_from, a.active_to)
        for a in artists
        for s in a.songs
        if s.year is not None
        and (
            not 1900 <= s.year <= 2026
            or (a.active_from is not None and s.year < a.active_from)
            or (a.active_to is not None and s.year > a.active_to + YEARS_AFTER)
        )
    ]
    assert wrong == []


def test_active_spans_run_forward(artists: list[StarterArtist]) -> None:
    assert [a.where for a in artists if a.active_from and a.active_to and a.active_from > a.active_to] == []


def test_countries_are_two_letters(artists: list[StarterArtist]) -> None:
    wrong = [(a.where, a.country) for a in artists if len(a.country) != 2 or not a.country.isascii()]
    assert wrong + [(a.where, a.country) for a in artists if not a.country.isupper()] == []


def test_related_artists_are_there_or_marked_outside(artists: list[StarterArtist]) -> None:
    there = {artist_key(a.name) for a in artists}
    missing = [(a.where, name) for a in artists for name in a.related if artist_key(name) not in there]
    assert missing == [], f"{len(missing)} related artists are neither in the catalogue nor marked with ~"
    marked = [(a.where, name) for a in artists for name in a.outside if artist_key(name) in there]
    assert marked == [], f"{len(marked)} artists are marked with ~ but are in the catalogue"


def test_every_artist_has_four_to_eight_related_ones_and_not_itself(artists: list[StarterArtist]) -> None:
    wrong = [(a.where, len(a.related) + len(a.outside)) for a in artists if not 4 <= len(a.related + a.outside) <= 8]
    assert wrong == []
    selves = [a.where for a in artists if artist_key(a.name) in {artist_key(n) for n in a.related + a.outside}]
    assert selves == []


def test_the_catalogue_is_large_and_varied(artists: list[StarterArtist]) -> None:
    songs = [s for a in artists for s in a.songs]
    assert len(songs) >= 5000
    assert len({artist_key(a.name) for a in artists}) >= 1000
    assert len({g for s in songs for g in s.genres}) >= 60
    assert len({a.country for a in artists}) >= 40
    decades = Counter(s.year // 10 * 10 for s in songs if s.year)
    assert {d: decades[d] for d in range(1950, 2030, 10) if decades[d] < 250} == {}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["Sinnerman | 1965 | | driving"], "x:1: a song before any artist"),
        (["@ Nina | US | 1954"], "x:1: an artist has 5 fields, found 3"),
        (["@ Nina | US | 1954-20 | jazz | "], "active span"),
        (["# note", "", "@ Nina | US | 1954-2003 | jazz | ", "Sinnerman | 65 | | driving"], "x:4: year '65'"),
        (["@ Nina | US | 1954-2003 | jazz | ", "Sinnerman | 1965"], "x:2: a song has 4 fields"),
        (["@ Nina | US | 1954-2003 | jazz | ", " | 1965 | | driving"], "and a title"),
    ],
)
def test_a_broken_line_is_named_with_file_and_line(lines: list[str], words: str) -> None:
    with pytest.raises(StarterError, match=words.replace("|", r"\|")):
        list(read_lines(lines, "x"))


def test_a_block_reads_as_it_is_written() -> None:
    lines = ["@ Nina Simone | US | 1954-2003 | jazz, soul | Billie Holiday; ~Odetta", "Sinnerman | 1965 | | driving"]
    (artist,) = read_lines(lines, "x")
    assert (artist.name, artist.country, artist.active_from, artist.active_to) == ("Nina Simone", "US", 1954, 2003)
    assert (artist.related, artist.outside) == (("Billie Holiday",), ("Odetta",))
    (song,) = artist.songs
    assert (song.title, song.year, song.genres, song.moods) == ("Sinnerman", 1965, ("jazz", "soul"), ("driving",))


def test_loading_twice_changes_nothing(tmp_path: Path, artists: list[StarterArtist]) -> None:
    url = f"sqlite:///{tmp_path / 'earshot.db'}"
    preparing.migrate(url)
    database = Database(url)
    try:
        with database.write() as db:
            added, _ = catalogue.load_starter(db, artists)
        with database.read() as db:
            assert catalogue.count(db) == added
        with database.write() as db:
            assert catalogue.load_starter(db, artists) == (0, 0)
            assert not db.new and not [row for row in db.dirty if db.is_modified(row)]
    finally:
        database.close()


def test_a_song_that_a_listener_added_gets_the_catalogues_facts(db: Database, starter: list[StarterArtist]) -> None:
    block = starter[0]
    entry = block.songs[0]
    with db.write() as session:
        row = session.scalars(
            select(Song).where(Song.artist_key == artist_key(block.name), Song.title_key == title_key(entry.title))
        ).one()
        row.genres, row.year, row.source = [], None, "log"
        number = row.id
    with db.write() as session:
        assert catalogue.load_starter(session, starter) == (0, 1)
    with db.read() as session:
        row = session.get_one(Song, number)
        assert (row.year, tuple(row.genres)) == (entry.year, entry.genres)
        assert session.get_one(Artist, artist_key(block.name)).genres == list(block.genres)
