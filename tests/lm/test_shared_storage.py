"""Adapters and vectors on storage that machines share: a folder, a file URL, and S3 (moto's server, marker cluster)."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from app.errors import (
    AdapterAltered,
    AdapterMissing,
    AdapterUnfit,
    AdapterUnreachable,
    BadInput,
    StorageProblem,
)
from app.lm.shared_store import SharedStore
from app.lm.shared_vectors import SharedVectors, keep_only
from app.objects import Objects
from tests.servers import new_bucket, s3_server

from .making import flip_byte, peft_tensors, random_units, write_adapter

WHO, OTHER = "0" * 15 + "1", "0" * 15 + "2"
V1, V2 = "a" * 16, "b" * 16
FINGERPRINT = "f" * 64
SHAPES = {"layers.0.q_proj": (6, 8), "layers.0.v_proj": (6, 4)}
RANK, D = 3, 8
ROOM = 1 << 30


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of an S3."""
    with s3_server() as address:
        yield address


@pytest.fixture(params=["folder", "file", pytest.param("s3", marks=pytest.mark.cluster)])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty place that every machine reaches."""
    if request.param == "folder":
        return str(tmp_path / "share")
    if request.param == "file":
        return f"file://{tmp_path / 'share'}"
    return new_bucket(request.getfixturevalue("s3"), monkeypatch)


def machine(url: str, cache: Path, room: int = ROOM) -> SharedStore:
    """A machine with a cache of its own."""
    return SharedStore(cache, Objects(url), room)


def put(store: SharedStore, listener: str = WHO, version: str = V1, seed: int = 1) -> None:
    tensors = peft_tensors(SHAPES, RANK, seed=seed)
    write_adapter(store, listener, version, tensors, fingerprint=FINGERPRINT, rank=RANK)


def take(store: SharedStore, listener: str = WHO, version: str = V1) -> Any:
    return store.read(listener, version, FINGERPRINT, SHAPES)


def same(one: Any, other: Any) -> bool:
    return all(torch.equal(one.a[n], other.a[n]) and torch.equal(one.b[n], other.b[n]) for n in SHAPES)


def test_what_one_machine_writes_the_other_reads_bit_for_bit_and_keeps(url: str, tmp_path: Path) -> None:
    first, second = machine(url, tmp_path / "1"), machine(url, tmp_path / "2")
    put(first)
    assert same(take(first), take(second))
    assert (second.versions(WHO), second.listeners()) == ([V1], [WHO])
    first.objects.remove_below("adapters")
    assert same(take(first), take(second)), "read from the cache"


def test_bytes_that_were_altered_in_the_cache_are_fetched_anew(url: str, tmp_path: Path) -> None:
    store = machine(url, tmp_path / "1")
    put(store)
    before = take(store)
    flip_byte(store.folder(WHO, V1).weights, -3)
    assert same(before, take(store))
    store.folder(WHO, V1).weights.unlink()
    assert same(before, take(store))


@pytest.mark.parametrize("file", ["adapter_model.safetensors", "adapter_config.json"])
def test_bytes_that_were_altered_in_storage_are_refused(url: str, tmp_path: Path, file: str) -> None:
    put(machine(url, tmp_path / "1"))
    objects, name = Objects(url), f"adapters/{WHO}/{V1}/{file}"
    content = bytearray(objects.get(name))
    content[-3] ^= 1
    objects.put(name, bytes(content))
    with pytest.raises(AdapterAltered):
        take(machine(url, tmp_path / "2"))


def test_a_version_without_its_card_is_not_there_and_a_foreign_base_is_refused(url: str, tmp_path: Path) -> None:
    store = machine(url, tmp_path / "1")
    put(store)
    store.objects.remove([f"adapters/{WHO}/{V1}/card.json"])
    other = machine(url, tmp_path / "2")
    assert other.versions(WHO) == []
    with pytest.raises(AdapterMissing):
        take(other)
    put(store, version=V2)
    with pytest.raises(AdapterUnfit):
        other.read(WHO, V2, "e" * 64, SHAPES)


def test_removing_is_seen_by_every_machine(url: str, tmp_path: Path) -> None:
    first, second = machine(url, tmp_path / "1"), machine(url, tmp_path / "2")
    for version in (V1, V2):
        put(first, version=version)
    put(first, listener=OTHER)
    for version in (V1, V2):
        take(second, version=version)
    first.remove(WHO, V1)
    assert second.versions(WHO) == [V2]
    first.remove(WHO)
    assert (second.versions(WHO), second.listeners()) == ([], [OTHER])
    assert second.forget_gone() == 2 and not second.folder(WHO, V2).path.exists()
    with pytest.raises(AdapterMissing):
        take(second, version=V2)


def test_vectors_beside_a_version_travel_too(url: str, tmp_path: Path) -> None:
    first, second = machine(url, tmp_path / "1"), machine(url, tmp_path / "2")
    put(first)
    songs, texts = np.array([4, 5], np.int64), np.array([1, 2], np.uint64)
    rows = random_units(2, D, 3)
    first.write_own_vectors(WHO, V1, songs, texts, rows)
    found = second.own_vectors(WHO, V1, D)
    assert all(np.array_equal(a, b) for a, b in zip(found, (songs, texts, rows), strict=True))
    first.remove(WHO, V1)
    with pytest.raises(AdapterMissing):
        machine(url, tmp_path / "3").own_vectors(WHO, V1, D)


def test_the_cache_gives_up_what_was_used_longest_ago(url: str, tmp_path: Path) -> None:
    first = machine(url, tmp_path / "1")
    many = [f"{number:016x}" for number in range(60)]
    for who in many:
        put(first, listener=who)
    size = first.folder(many[0], V1).size
    second = machine(url, tmp_path / "2", room=10 * size)
    for who in many:
        take(second, listener=who)
    held = [who for who in many if second.folder(who, V1).card.exists()]
    assert held == many[40:]  # the fiftieth fetch left the ten newest, ten came after it
    assert same(take(second, listener=many[0]), take(first, listener=many[0]))


def test_a_write_that_fails_in_storage_is_nowhere(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        (tmp_path / "share").write_text("no folder", encoding="utf-8")
    else:
        (tmp_path / "share").mkdir(mode=0o500)
    store = machine(str(tmp_path / "share"), tmp_path / "1")
    with pytest.raises(StorageProblem):
        put(store)
    assert not store.folder(WHO, V1).path.exists()


@pytest.mark.cluster
def test_storage_that_does_not_answer_is_named(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    store = machine("s3://nowhere/place", tmp_path / "1")
    with pytest.raises(AdapterUnreachable):
        take(store)
    with pytest.raises(StorageProblem):
        put(store)


def test_an_address_that_no_storage_has_is_refused() -> None:
    with pytest.raises(BadInput, match="EARSHOT_STORAGE"):
        Objects("nosuch://place")


# -- catalogue vectors ------------------------------------------------------------------------------


def vectors(url: str, cache: Path) -> SharedVectors:
    return SharedVectors(cache, FINGERPRINT, D, Objects(url))


def add(place: SharedVectors, songs: list[int], seed: int = 0, text: str = "song") -> np.ndarray:
    rows = random_units(len(songs), D, seed)
    place.append(songs, [f"{text} {song}" for song in songs], rows)
    return rows


def held(place: SharedVectors) -> dict[int, list[float]]:
    place.sync()
    snapshot = place.snapshot()
    return {int(song): snapshot.vectors[row].tolist() for row, song in enumerate(snapshot.ids)}


def test_songs_encoded_by_one_machine_are_ranked_by_the_other_and_not_stale_there(url: str, tmp_path: Path) -> None:
    first, second = vectors(url, tmp_path / "1"), vectors(url, tmp_path / "2")
    rows = add(first, [1, 2, 3])
    assert held(second) == held(first) == {song: rows[song - 1].tolist() for song in (1, 2, 3)}
    assert second.stale([(1, "song 1"), (2, "changed"), (4, "song 4")]) == [(2, "changed"), (4, "song 4")]
    add(second, [4], seed=2)
    again = add(second, [1], seed=3, text="other")
    assert held(first)[1] == again[0].tolist() and set(held(first)) == {1, 2, 3, 4}
    assert held(vectors(url, tmp_path / "3")) == held(first)
    assert second.check() == []


def test_many_machines_that_encode_at_once_lose_nothing(url: str, tmp_path: Path) -> None:
    machines = [vectors(url, tmp_path / str(number)) for number in range(4)]
    start = threading.Barrier(4)

    def encode(number: int) -> None:
        start.wait()
        for batch in range(5):
            first = 1000 * number + 10 * batch
            add(machines[number], list(range(first, first + 3)), seed=first)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(encode, range(4)))
    wanted = held(vectors(url, tmp_path / "new"))
    assert len(wanted) == 4 * 5 * 3
    assert all(held(each) == wanted for each in machines)


def test_a_part_that_was_altered_is_refused_and_its_songs_are_encoded_again(url: str, tmp_path: Path) -> None:
    first = vectors(url, tmp_path / "1")
    add(first, [1])
    kept = add(first, [2], seed=1)
    names = first.objects.names("vectors")
    content = bytearray(first.objects.get(names[0]))
    content[-1] ^= 1
    first.objects.put(names[0], bytes(content))
    second = vectors(url, tmp_path / "2")
    assert held(second) == {2: kept[0].tolist()}
    assert second.stale([(1, "song 1"), (2, "song 2")]) == [(1, "song 1")]


def test_songs_that_are_gone_leave_the_storage_and_every_machine(url: str, tmp_path: Path) -> None:
    first, second = vectors(url, tmp_path / "1"), vectors(url, tmp_path / "2")
    rows = add(first, [1, 2, 3])
    assert len(held(second)) == 3
    first.remove([3])
    assert set(held(second)) == {1, 2}
    assert keep_only(tmp_path / "1", url, {1}) > 0
    assert held(second) == {1: rows[0].tolist()}
    stored = b"".join(first.objects.get(name) for name in first.objects.names("vectors"))
    assert rows[0].tobytes() in stored and rows[1].tobytes() not in stored and rows[2].tobytes() not in stored
    for place in (first, second):
        assert place.sync() == 0 and (place.folder / "vectors.f32").read_bytes() == rows[0].tobytes()
    assert keep_only(tmp_path / "1", url, {1}) == 0
    add(second, [9], seed=4)
    assert set(held(first)) == {1, 9}
    first.clear()
    assert held(second) == {}


class Meanwhile(Objects):
    """Storage where somebody does something else just before names are listed for the second time."""

    do: Callable[[], object]
    asked = 2

    def names(self, prefix: str) -> list[str]:
        """As ever."""
        self.asked += 1
        if self.asked == 2:
            self.do()
        return super().names(prefix)


def test_what_another_machine_encodes_while_songs_that_are_gone_leave_stays(url: str, tmp_path: Path) -> None:
    second, storage = vectors(url, tmp_path / "2"), Meanwhile(url)
    first = SharedVectors(tmp_path / "1", FINGERPRINT, D, storage)
    rows = add(first, [1, 2])
    in_between: list[np.ndarray] = []
    storage.do, storage.asked = lambda: in_between.append(add(second, [3], seed=5)), 0

    def known() -> set[int]:
        in_between.append(add(second, [4], seed=6))
        return {1, 3, 4}

    assert first.keep_only(known) == 1
    wanted = {1: rows[0].tolist(), 3: in_between[0][0].tolist(), 4: in_between[1][0].tolist()}
    for place in (first, second):
        place.sync()
        assert held(place) == wanted


def test_a_machine_that_lost_its_copy_fetches_it_again(url: str, tmp_path: Path) -> None:
    first = vectors(url, tmp_path / "1")
    add(first, [1, 2])
    before = held(first)
    shutil.rmtree(first.folder)
    assert held(vectors(url, tmp_path / "1")) == before


def test_what_was_encoded_stays_usable_while_storage_is_away(tmp_path: Path) -> None:
    share = tmp_path / "share"
    first = vectors(str(share), tmp_path / "1")
    add(first, [1])
    share.rename(tmp_path / "away")
    share.write_text("no folder", encoding="utf-8")
    first._looked = float("-inf")
    assert first.snapshot().ids.tolist() == [1]
    with pytest.raises(StorageProblem):
        add(first, [2])


class Slow(Objects):
    """Storage that lists its files once it is told to."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.asked, self.go_on = threading.Event(), threading.Event()

    def names(self, prefix: str) -> list[str]:
        self.asked.set()
        assert self.go_on.wait(60)
        return super().names(prefix)


def test_nobody_ranks_an_empty_catalogue_while_the_first_look_goes_on(tmp_path: Path) -> None:
    share = str(tmp_path / "share")
    add(vectors(share, tmp_path / "1"), [1, 2])
    storage = Slow(share)
    place = SharedVectors(tmp_path / "2", FINGERPRINT, D, storage)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(place.snapshot)
        assert storage.asked.wait(60)
        second = pool.submit(place.snapshot)
        storage.go_on.set()
        assert [sorted(one.result().ids.tolist()) for one in (first, second)] == [[1, 2], [1, 2]]
