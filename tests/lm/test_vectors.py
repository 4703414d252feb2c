"""Catalogue vectors on disk: appended, replaced, and honest after a crash."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from app.errors import VectorsDamaged
from app.lm.compacting import keep_only
from app.lm.vectors import CatalogueVectors, Floats, text_hash
from app.settings import PROJECT

from .making import flip_byte, random_units

D = 8
APPEND = """
import sys
from pathlib import Path
import numpy as np
from app.lm.vectors import CatalogueVectors

first, batches = int(sys.argv[2]), int(sys.argv[3])
vectors = CatalogueVectors(Path(sys.argv[1]), "f" * 64, 8)
print("ready", flush=True)
sys.stdin.readline()
for song in range(first, first + 3 * batches, 3):
    songs = [song, song + 1, song + 2]
    vectors.append(songs, [f"song {s}" for s in songs], np.array([[s] * 8 for s in songs], np.float32))
"""


@pytest.fixture
def vectors(tmp_path: Path) -> CatalogueVectors:
    """An empty place for vectors."""
    return CatalogueVectors(tmp_path, "f" * 64, D)


def again(vectors: CatalogueVectors) -> CatalogueVectors:
    """The same folder, opened anew as another process would."""
    return CatalogueVectors(vectors.folder.parent, "f" * 64, D)


def add(vectors: CatalogueVectors, songs: list[int], seed: int = 0) -> Floats:
    rows = random_units(len(songs), D, seed)
    vectors.append(songs, [f"song {s}" for s in songs], rows)
    return rows


def files(vectors: CatalogueVectors) -> tuple[Path, Path]:
    return vectors.folder / "vectors.f32", vectors.folder / "index.bin"


def test_nothing_encoded_is_an_empty_catalogue(vectors: CatalogueVectors) -> None:
    empty = vectors.snapshot()
    assert (len(empty.ids), empty.vectors.shape, vectors.check()) == (0, (0, D), [])
    assert not empty.mean.any()


def test_what_is_appended_is_read_back_with_its_mean(vectors: CatalogueVectors) -> None:
    rows = np.concatenate([add(vectors, [5, 3], seed=1), add(vectors, [9], seed=2)])
    for snapshot in (vectors.snapshot(), again(vectors).snapshot()):
        assert snapshot.ids.tolist() == [5, 3, 9]
        np.testing.assert_array_equal(snapshot.vectors, rows)
        np.testing.assert_allclose(snapshot.mean, rows.mean(axis=0), atol=1e-6)
        assert snapshot.rows([9, 77, 5]).tolist() == [2, 0]
    assert vectors.check() == []


def test_a_song_encoded_again_replaces_its_old_row(vectors: CatalogueVectors) -> None:
    old = add(vectors, [1, 2, 3], seed=1)
    new = add(vectors, [2], seed=2)
    snapshot = vectors.snapshot()
    assert snapshot.ids.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(snapshot.vectors, np.stack([old[0], new[0], old[2]]))
    np.testing.assert_allclose(snapshot.mean, np.asarray(snapshot.vectors).mean(axis=0), atol=1e-6)


def test_new_songs_and_songs_whose_text_has_changed_are_stale(vectors: CatalogueVectors) -> None:
    add(vectors, [1, 2])
    songs = [(1, "song 1"), (2, "song 2, corrected"), (3, "song 3")]
    assert vectors.stale(songs) == songs[1:]
    vectors.append([2], ["song 2, corrected"], random_units(1, D, 3))
    assert vectors.stale(songs) == songs[2:]


def test_a_reader_sees_what_another_has_appended_and_an_old_snapshot_stays_as_it_was(
    vectors: CatalogueVectors,
) -> None:
    first = add(vectors, [1, 2], seed=1)
    reader = again(vectors)
    before = reader.snapshot()
    assert reader.snapshot() is before
    add(vectors, [2, 3], seed=2)
    assert reader.snapshot().ids.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(before.vectors, first)


@pytest.mark.parametrize("torn", [1, 4 * D - 1, 4 * D, 12 * D])
def test_rows_without_index_entries_are_overwritten_by_the_next_append(vectors: CatalogueVectors, torn: int) -> None:
    rows = add(vectors, [1, 2], seed=1)
    with files(vectors)[0].open("ab") as stream:  # killed between the rows and their entries
        stream.write(b"\x7f" * torn)
    assert again(vectors).snapshot().ids.tolist() == [1, 2]
    more = add(again(vectors), [3], seed=2)
    snapshot = again(vectors).snapshot()
    assert snapshot.ids.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(snapshot.vectors, np.concatenate([rows, more]))
    assert vectors.check() == []


@pytest.mark.parametrize("torn", [1, 10, 19])
def test_half_an_index_entry_does_not_count(vectors: CatalogueVectors, torn: int) -> None:
    rows = add(vectors, [1, 2], seed=1)
    add(vectors, [3], seed=2)
    index = files(vectors)[1]
    os.truncate(index, index.stat().st_size - torn)
    assert again(vectors).snapshot().ids.tolist() == [1, 2]
    assert vectors.stale([(3, "song 3")]) == [(3, "song 3")]
    more = add(vectors, [3], seed=3)
    np.testing.assert_array_equal(again(vectors).snapshot().vectors, np.concatenate([rows, more]))
    assert vectors.check() == []


def test_fewer_rows_than_the_index_says_is_damage(vectors: CatalogueVectors) -> None:
    add(vectors, [1, 2, 3])
    rows = files(vectors)[0]
    os.truncate(rows, rows.stat().st_size - 1)
    with pytest.raises(VectorsDamaged, match="shorter than its index"):
        again(vectors).snapshot()
    assert vectors.check() == [3]


def test_no_rows_at_all_under_an_index_is_damage(vectors: CatalogueVectors) -> None:
    add(vectors, [1, 2])
    files(vectors)[0].unlink()
    with pytest.raises(VectorsDamaged):
        again(vectors).snapshot()
    assert vectors.check() == [1, 2]


def test_the_check_names_the_song_whose_row_was_altered(vectors: CatalogueVectors) -> None:
    add(vectors, [11, 12, 13])
    flip_byte(files(vectors)[0], 4 * D + 2)
    assert vectors.check() == [12]


def test_cleared_vectors_are_encoded_anew(vectors: CatalogueVectors) -> None:
    add(vectors, [1, 2], seed=1)
    held = vectors.snapshot()
    copy = np.array(held.vectors)
    vectors.clear()
    assert len(vectors.snapshot().ids) == 0
    assert vectors.stale([(1, "song 1")]) == [(1, "song 1")]
    add(vectors, [7], seed=2)
    assert vectors.snapshot().ids.tolist() == [7]
    np.testing.assert_array_equal(held.vectors, copy)  # who still holds the old ones is not disturbed


def test_bad_rows_are_refused_and_leave_nothing(vectors: CatalogueVectors) -> None:
    for rows in (np.full((1, D), np.nan), np.full((1, D), np.inf), np.zeros((1, D + 1)), np.zeros((2, D))):
        with pytest.raises(ValueError, match="vectors of shape"):
            vectors.append([1], ["song 1"], rows.astype(np.float32))
    assert not files(vectors)[1].exists()


def test_another_base_has_other_vectors(tmp_path: Path, vectors: CatalogueVectors) -> None:
    add(vectors, [1])
    assert len(CatalogueVectors(tmp_path, "e" * 64, D).snapshot().ids) == 0


def test_text_hashes_differ_and_take_any_text() -> None:
    assert text_hash("a") != text_hash("b")
    assert text_hash("\ud800") == text_hash("\ud800")


def test_two_processes_and_two_threads_append_without_loss(vectors: CatalogueVectors) -> None:
    batches = 15
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", APPEND, str(vectors.folder.parent), str(first), str(batches)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=PROJECT,
        )
        for first in (1000, 2000)
    ]

    def here(first: int) -> None:
        for song in range(first, first + batches):
            vectors.append([song], [f"song {song}"], np.full((1, D), song, np.float32))

    threads = [threading.Thread(target=here, args=(first,)) for first in (3000, 4000)]
    for writer in writers:
        assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for thread in threads:
        thread.start()
    reader = again(vectors)
    while any(thread.is_alive() for thread in threads) or any(writer.poll() is None for writer in writers):
        growing = reader.snapshot()
        np.testing.assert_array_equal(growing.vectors, np.repeat(growing.ids[:, None], D, axis=1))
    for thread in threads:
        thread.join()
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    done = again(vectors).snapshot()
    expected = [*range(1000, 1000 + 3 * batches), *range(2000, 2000 + 3 * batches)]
    expected += [*range(3000, 3000 + batches), *range(4000, 4000 + batches)]
    assert sorted(done.ids.tolist()) == expected
    np.testing.assert_array_equal(done.vectors, np.repeat(done.ids[:, None], D, axis=1))
    assert vectors.check() == []


def test_removed_songs_are_gone_for_everybody_and_can_come_again(vectors: CatalogueVectors) -> None:
    rows = add(vectors, [1, 2, 3])
    other = again(vectors)
    assert len(other.snapshot().ids) == 3
    vectors.remove([2])
    for place in (vectors, other, again(vectors)):
        assert place.snapshot().ids.tolist() == [1, 3] and place.check() == []
        assert place.stale([(2, "song 2"), (3, "song 3")]) == [(2, "song 2")]
        np.testing.assert_allclose(place.snapshot().mean, rows[[0, 2]].mean(axis=0), atol=1e-6)
    add(vectors, [2], seed=1)
    assert sorted(other.snapshot().ids.tolist()) == [1, 2, 3]
    vectors.remove([])
    vectors.remove([1, 2, 3])
    assert other.snapshot().ids.tolist() == []


def test_a_reader_sees_what_came_when_as_many_songs_went_before(vectors: CatalogueVectors) -> None:
    """Songs of somebody who left are taken out by another process, and as many new ones follow, under the same ids."""
    add(vectors, [1, 2, 3])
    vectors.snapshot()
    assert vectors.stale([(3, "song 3")]) == []
    other = again(vectors)
    assert keep_only(vectors.folder.parent, lambda: {1, 2}) == 1
    other.append([3], ["another song"], random_units(1, D, 9))
    assert (vectors.snapshot().vectors[[2]] == random_units(1, D, 9)).all()
    assert vectors.stale([(3, "another song"), (2, "song 2")]) == [] != vectors.stale([(3, "song 3")])


def test_as_many_songs_gone_as_come_is_another_catalogue(vectors: CatalogueVectors) -> None:
    add(vectors, [1, 2, 3, 4])
    reader = again(vectors)
    before = reader.snapshot()
    assert reader.stale([(4, "song 4")]) == []
    assert keep_only(vectors.folder.parent, lambda: [1, 2]) == 2
    rows = add(vectors, [5, 6], seed=1)
    after = reader.snapshot()
    assert after.ids.tolist() == [1, 2, 5, 6] and after.mark is not before.mark
    np.testing.assert_array_equal(after.vectors[2:], rows)
    assert before.ids.tolist() == [1, 2, 3, 4]
    assert reader.stale([(4, "song 4"), (5, "song 5")]) == [(4, "song 4")]


COMPACT = """
import sys
from pathlib import Path
import numpy as np
from app.lm.compacting import keep_only
from app.lm.vectors import CatalogueVectors

vectors = CatalogueVectors(Path(sys.argv[1]), "f" * 64, 8)
print("ready", flush=True)
sys.stdin.readline()
for song in range(1000, 1150):
    vectors.append([song], ["x"], np.ones((1, 8), np.float32))
    keep_only(Path(sys.argv[1]), lambda: range(1, 101))
"""


def test_nobody_sees_a_catalogue_half_compacted(vectors: CatalogueVectors) -> None:
    add(vectors, list(range(1, 101)))
    songs = [(song, f"song {song}") for song in range(1, 101)]
    writer = subprocess.Popen(
        [sys.executable, "-c", COMPACT, str(vectors.folder.parent)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT,
    )  # fmt: skip
    assert writer.stdin is not None and writer.stdout is not None and writer.stdout.readline() == "ready\n"
    writer.stdin.write("go\n")
    writer.stdin.flush()
    while writer.poll() is None:
        assert len(vectors.snapshot().ids) in (100, 101)
        assert vectors.stale(songs) == [] and vectors.check() == []
    writer.communicate()
    assert writer.returncode == 0 and vectors.snapshot().ids.tolist() == list(range(1, 101))


@pytest.mark.parametrize("renamed", [0, 1], ids=["neither", "the vectors"])
def test_a_compaction_that_was_killed_between_its_renames_is_finished(
    vectors: CatalogueVectors, monkeypatch: pytest.MonkeyPatch, renamed: int
) -> None:
    rows = add(vectors, [1, 2, 3, 4])
    done = []
    rename = Path.rename

    def killed(path: Path, target: Path) -> Path:
        if len(done) == renamed:
            raise KeyboardInterrupt
        done.append(path)
        return rename(path, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "rename", killed)
        keep_only(vectors.folder.parent, lambda: {2, 4})
    after = again(vectors)
    assert after.snapshot().ids.tolist() == [2, 4] and after.check() == []
    np.testing.assert_array_equal(after.snapshot().vectors[[0, 1]], rows[[1, 3]])
    assert vectors.snapshot().ids.tolist() == [2, 4]


def test_what_a_compaction_left_that_was_killed_before_is_not_taken_for_the_catalogue(
    vectors: CatalogueVectors,
) -> None:
    add(vectors, [1, 2])
    (vectors.folder / "index.new").write_bytes(b"half")
    assert again(vectors).snapshot().ids.tolist() == [1, 2]
    vectors.clear()
    assert again(vectors).snapshot().ids.tolist() == [] and not (vectors.folder / "index.new").exists()
