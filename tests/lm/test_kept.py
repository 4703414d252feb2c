"""What is kept in RAM stays within its bound."""

from __future__ import annotations

from app.lm.kept import Kept


def test_the_longest_unused_goes_first_and_the_bytes_stay_bounded() -> None:
    kept: Kept[str] = Kept(10)
    for key in "abc":
        kept.put(key, key.upper(), 3)
    assert kept.get("a") == "A"
    kept.put("d", "D", 3)
    assert [kept.get(key) for key in "abcd"] == ["A", None, "C", "D"]
    assert (kept.bytes, len(kept)) == (9, 3)


def test_a_new_value_replaces_the_old_one_and_its_bytes() -> None:
    kept: Kept[int] = Kept(10)
    kept.put("a", 1, 9)
    kept.put("a", 2, 4)
    assert (kept.get("a"), kept.bytes) == (2, 4)


def test_what_is_larger_than_all_room_is_not_kept_and_pushes_nobody_out() -> None:
    kept: Kept[int] = Kept(10)
    kept.put("a", 1, 5)
    kept.put("b", 2, 11)
    assert (kept.get("a"), kept.get("b"), kept.bytes) == (1, None, 5)


def test_a_prefix_is_forgotten_whole_and_alone() -> None:
    kept: Kept[int] = Kept(100)
    for key in ("u1/a", "u1/b", "u10/a"):
        kept.put(key, 1, 10)
    assert kept.drop("u1/") == ["u1/a", "u1/b"]
    assert (kept.get("u10/a"), kept.bytes) == (1, 10)
