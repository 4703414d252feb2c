"""What the music adapter learns from, and whom it never reads."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from app.errors import BadInput
from app.lm.pretraining_data import (
    ArtistFacts,
    Piece,
    held_back,
    mark,
    read_directory,
    source_of_facts,
)
from app.lm.pretraining_world import FORMS, Texts, form_of, neighbour_pairs, world_of
from app.lm.song_text import artist_key

KEPT = next(f"u{i}" for i in range(1000) if not held_back(f"u{i}"))
HELD = next(f"u{i}" for i in range(1000) if held_back(f"u{i}"))
SONGS = [f"s{i}\tThe Band {i // 2}\t{i:02d} - Song {i}\trock|loud\t19{70 + i}" for i in range(12)]


def directory(folder: Path, listens: list[str], playlists: list[str] | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "songs.tsv").write_text("\n".join(["song_id\tartist\ttitle\ttags\tyear", *SONGS]) + "\n")
    (folder / "listens.tsv").write_text("\n".join(["user_id\tsong_id\tplays\trating\tat", *listens]) + "\n")
    if playlists is not None:
        (folder / "playlists.tsv").write_text("\n".join(["playlist_id\tsong_ids", *playlists]) + "\n")
    return folder


def history(listener: str, songs: range) -> list[str]:
    return [f"{listener}\ts{i}\t{i + 1}\t\t" for i in songs]


def test_a_listener_who_is_for_measuring_is_never_read(tmp_path: Path) -> None:
    alone = read_directory(directory(tmp_path / "a", history(KEPT, range(6))))
    beside = read_directory(directory(tmp_path / "b", history(KEPT, range(6)) + history(HELD, range(4, 12))))
    assert beside.groups == alone.groups
    assert beside.listeners == alone.listeners == (mark(KEPT, [f"s{i}" for i in range(6)]),)
    assert (alone.left_out, beside.left_out) == (0, 1)


def test_the_fifth_that_is_held_back_is_the_agreed_one() -> None:
    ids = [f"listener {i}" for i in range(2000)]
    assert [held_back(i) for i in ids] == [hashlib.sha256(i.encode()).digest()[0] < 52 for i in ids]
    assert 0.15 < sum(map(held_back, ids)) / len(ids) < 0.25


def test_a_directory_where_everybody_is_held_back_teaches_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no listener"):
        read_directory(directory(tmp_path, history(HELD, range(8))))


def test_a_mark_tells_listeners_of_the_same_name_apart() -> None:
    assert mark("1", ["a", "b"]) == mark("1", ["b", "a"])
    assert mark("1", ["a", "b"]) != mark("1", ["a", "c"])


def test_plays_weigh_by_their_logarithm_and_disliked_songs_are_left_out(tmp_path: Path) -> None:
    rows = [*history(KEPT, range(6)), f"{KEPT}\ts7\t1\t1\t", f"{KEPT}\ts8\t1\t5\t"]
    (group,) = read_directory(directory(tmp_path, rows)).groups["listeners"]
    assert group.rows == (0, 1, 2, 3, 4, 5, 8)
    np.testing.assert_allclose(group.weights, np.log1p([1, 2, 3, 4, 5, 6, 1]))


def test_playlists_count_and_what_is_unknown_does_not_matter(tmp_path: Path) -> None:
    source = read_directory(directory(tmp_path, [], ["1\ts0 s1 s2 s3 s4 s99", "2\ts1 s2"]))
    assert [g.rows for g in source.groups["playlists"]] == [(0, 1, 2, 3, 4)]


def test_only_songs_and_playlists_need_be_there(tmp_path: Path) -> None:
    directory(tmp_path, [], ["1\ts0 s1 s2 s3 s4"])
    (tmp_path / "listens.tsv").unlink()
    (tmp_path / "songs.tsv").write_text("song_id\tartist\n" + "".join(f"s{i}\tBand {i}\n" for i in range(5)))
    source = read_directory(tmp_path)
    assert source.pieces[0] == Piece("Band 0")


def test_placeholders_are_no_songs_and_track_numbers_no_titles(tmp_path: Path) -> None:
    directory(tmp_path, [], ["1\ts0 s1 s2 s3 s4 -1"])
    with (tmp_path / "songs.tsv").open("a") as stream:
        stream.write("-1\tNobody\tNothing\t\t\n")
    pieces = read_directory(tmp_path).pieces
    assert pieces[3] == Piece("The Band 1", "Song 3", ("rock", "loud"), 1973)
    assert "Nobody" not in [p.artist for p in pieces]


def facts(count: int = 20) -> list[ArtistFacts]:
    """Two scenes: even and odd artists are related among themselves and share a genre."""
    return [
        ArtistFacts(
            f"Artist {i}",
            ("soul",) if i % 2 else ("techno",),
            tuple(f"Artist {(i + step) % count}" for step in (2, 4, 6)),
            (Piece(f"Artist {i}", f"Song {i}", ("sad",) if i % 2 else ("fast",), 1970 + i % 2 * 30),),
        )
        for i in range(count)
    ]


def test_facts_alone_group_what_belongs_together() -> None:
    source = source_of_facts(facts())
    names = [piece.artist for piece in source.pieces]
    for group in source.groups["facts"][:20]:  # neighbourhoods by related artists
        assert len({int(names[row].split()[1]) % 2 for row in group.rows}) == 1
    assert source.listeners == () and source.left_out == 0


def test_related_artists_outside_of_the_catalogue_are_learnt_by_name() -> None:
    some = facts()
    some[0] = ArtistFacts("Artist 0", ("techno",), ("Somebody Else",), ())
    assert Piece("Somebody Else") in source_of_facts(some).pieces


def test_one_artist_of_two_sources_is_one() -> None:
    assert artist_key("The  BEATLES") == artist_key("beatles")
    assert artist_key("The The") == "the"
    world = world_of([source_of_facts(facts()), source_of_facts(facts())])
    assert len(world.names) == 20
    assert world.popularity.min() > 0


FULL = Piece("Nina Simone", "Sinnerman", ("jazz", "driving"), 1965)


@pytest.mark.parametrize(
    ("form", "piece", "text"),
    [
        ("full", FULL, "Sinnerman by Nina Simone. jazz, driving. 1965"),
        ("name", FULL, "Nina Simone"),
        ("title by artist", FULL, "Sinnerman by Nina Simone"),
        ("artist first", FULL, "Nina Simone - Sinnerman"),
        ("tags", FULL, "jazz, driving"),
        ("tags", Piece("Nina Simone"), ""),
        ("artist first", Piece("Nina Simone"), ""),
        ("some tags", Piece("Nina Simone"), ""),
    ],
)
def test_a_song_is_written_in_every_form(form: str, piece: Piece, text: str) -> None:
    assert form_of(piece, form, np.random.default_rng(0)) == text


def test_texts_are_drawn_in_all_forms_and_never_of_unseen_artists() -> None:
    world = world_of([source_of_facts(facts(300))])
    assert world.unseen.any()
    drawn = Texts(world).draw(3000, np.random.default_rng(0))
    texts = drawn.texts
    assert not world.unseen[drawn.artists].any()
    assert all(texts)
    unseen = {world.names[i] for i in np.flatnonzero(world.unseen)}
    assert not {t for t in texts if t.split(". ")[0] in unseen}
    looks = {"by": " by ", "first": " - "}
    assert all(any(mark in t for t in texts) for mark in looks.values())
    assert any(t in ("sad", "fast", "soul", "techno") for t in texts)
    assert len(FORMS) == 6


def test_pairs_to_check_keep_seen_and_unseen_apart() -> None:
    world = world_of([source_of_facts(facts(300))])
    for unseen in (False, True):
        pairs = neighbour_pairs(world, 50, np.random.default_rng(0), unseen=unseen)
        assert len(pairs) == 50
        assert (world.unseen[pairs[:, 0]] == unseen).all()
        assert not world.unseen[pairs[:, 1:]].any()
