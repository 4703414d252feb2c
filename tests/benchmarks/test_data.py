"""The reader takes what is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from sets import write_dialogues, write_friends, write_songs

from benchmarks.quality import data


def test_placeholders_are_no_songs_and_track_numbers_no_part_of_a_title(folder: Path) -> None:
    found = data.read(folder)
    assert len(found.songs) == 60
    assert found.songs[2].title == "Song number 2"
    assert found.songs[2].text == "Song number 2 by Artist 2. jazz, calm. 1970"


@pytest.mark.parametrize("columns", ["song_id artist", "song_id title", "artist song_id tags"])
def test_a_column_may_be_missing(tmp_path: Path, columns: str) -> None:
    names = columns.split()
    row = {"song_id": "a", "artist": "Nina Simone", "title": "Sinnerman", "tags": "jazz"}
    text = "\t".join(names) + "\n" + "\t".join(row[name] for name in names) + "\n"
    (tmp_path / "songs.tsv").write_text(text)
    song = data.read(tmp_path).songs[0]
    assert song.text.startswith(("Nina Simone", "Sinnerman")) and song.artist_key


def test_listens_of_one_song_add_up_and_unreadable_numbers_are_unknown(tmp_path: Path) -> None:
    write_songs(tmp_path)
    (tmp_path / "listens.tsv").write_text(
        "user_id\tsong_id\tplays\trating\tat\nu\ts1\t2\t4\t10\nu\ts1\t3\t\t20\nu\ts2\tmany\tnan\nu\tgone\t1\nu\t-1\t1\n"
    )
    first, second = data.read(tmp_path).listens["u"]
    assert (first.plays, first.rating, first.at) == (5, 4, 20)
    assert (second.plays, second.rating, second.at) == (1, None, None)


def test_the_rule_follows_from_the_catalogue_alone(folder: Path, tmp_path: Path) -> None:
    assert data.read(folder).rule == "interest"
    artists = tmp_path / "artists"
    artists.mkdir()
    (artists / "songs.tsv").write_text("song_id\tartist\n" + "".join(f"{i}\tArtist {i}\n" for i in range(9)))
    assert data.read(artists).rule == "mean"


def test_dialogues_bring_their_own_tracks(tmp_path: Path) -> None:
    write_dialogues(tmp_path)
    found = data.read(tmp_path)
    assert len(found.songs) == 40 and len(found.dialogues) == 3
    assert found.songs[found.dialogues[0].goal[0]].text == "Tune 0 by Band of jazz"
    assert len(found.dialogues[0].turns[0].liked) == 3


def test_friendship_goes_both_ways(folder: Path) -> None:
    write_friends(folder)
    friends = data.read(folder).friends
    assert "user 2" in friends["user 0"] and "user 0" in friends["user 2"]


def test_an_empty_directory_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(data.DataProblem, match=str(tmp_path)):
        data.read(tmp_path)
