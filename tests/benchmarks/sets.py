"""Write tiny directories in the plain format."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from benchmarks.quality.running import Bench

MakeBench = Callable[[Path, str], Bench]

SONGS, LISTENERS = 60, 12


def write_songs(folder: Path) -> None:
    """Song i is by artist i mod 20; even songs are jazz, odd ones metal. One placeholder and one stray track number."""
    lines = ["song_id\tartist\ttitle\ttags\tyear", "-1\tNobody\tPlaceholder\t\t"]
    for i in range(SONGS):
        kind = "jazz|calm" if i % 2 == 0 else "metal|loud"
        title = f"{'02. ' if i == 2 else ''}Song number {i}"
        lines.append(f"s{i}\tArtist {i % 20}\t{title}\t{kind}\t1970")
    (folder / "songs.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_listens(folder: Path, *, rated: bool = True) -> None:
    """Listener u knows three in four of the songs with u's parity; rated, and some others badly rated."""
    lines = ["user_id\tsong_id\tplays\trating\tat" if rated else "user_id\tsong_id"]
    for user in range(LISTENERS):
        for i in range(SONGS):
            same = i % 2 == user % 2
            if not (same and (i // 2 + user) % 4) and not (rated and not same and (i // 2 + user) % 5 == 0):
                continue
            more = f"\t{1 + i % 3}\t{5 if same else 1}\t{1000 + (i * 7) % 60}" if rated else ""
            lines.append(f"user {user}\ts{i}{more}")
    (folder / "listens.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_friends(folder: Path) -> None:
    """Listeners of one parity are friends."""
    pairs = [(a, b) for a in range(LISTENERS) for b in range(a) if a % 2 == b % 2]
    text = "user_a\tuser_b\n" + "".join(f"user {a}\tuser {b}\n" for a, b in pairs)
    (folder / "friends.tsv").write_text(text, encoding="utf-8")


def write_dialogues(folder: Path, count: int = 3) -> None:
    """Dialogues that bring their own forty tracks and find ten jazz songs in three turns."""
    tracks = {
        f"t{i}": {"track_titles": f"Tune {i}", "track_artists": ["Band of " + ("jazz" if i % 2 == 0 else "metal")]}
        for i in range(40)
    }
    lines = []
    for number in range(count):
        goal = [f"t{2 * i}" for i in range(number, number + 10)]
        turns = [
            {"user_query": "some jazz please", "liked_results": [goal[:3]], "disliked_results": ["t1"]},
            {"user_query": "more jazz", "liked_results": [goal[3:7]], "disliked_results": []},
            {"user_query": "that is perfect", "liked_results": [], "disliked_results": []},
        ]
        entry = {"id": f"d{number}", "turns": turns, "tracks": tracks, "goal_playlist": goal}
        lines.append(json.dumps(entry))
    (folder / "dialogs.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
