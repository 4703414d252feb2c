"""What is hidden from whom: one Case is one question, its answer, and who else the baselines may see.

Every choice at random is seeded by the listener, so a case is the same in every run and beside any other listeners.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.quality.data import DataProblem, Dataset, Listen

TASKS = ("discover", "new-artists", "newcomer", "likes", "ask")
CIRCLES = ("random", "friends")  # how a circle is drawn; the first is what evaluation compares by
CIRCLE_SIZE = 20  # the listener and nineteen others
HIDDEN_SHARE = 0.2
LIKES_LEARNT = 0.7
LIKED, DISLIKED = 4.0, 2.0
_LEAST_KNOWN = 4
PICKS = 5  # favourite artists that a newcomer names
SONGS_A_PICK = 8  # by which the product reads a picked artist (services/history.py)
_DISLIKE = -0.15  # as the product weighs a rating of two or less

Histories = Mapping[str, Sequence[int]]


@dataclass(frozen=True, slots=True)
class Case:
    """One question about one listener; songs are row numbers of the catalogue.

    known: weight of each song that may be learnt from, below zero for a dislike. hidden: what must be found. wrong:
    what must come after it (likes only). out: left out of the ranking, or they would fill it. circle: the others in the
    listener's circle. wish: what was said, oldest first. group: questions of one group count as one listener.
    """

    key: str
    group: str
    known: Mapping[int, float]
    hidden: tuple[int, ...]
    out: tuple[int, ...]
    circle: tuple[str, ...]
    wrong: tuple[int, ...] = ()
    wish: tuple[str, ...] = ()

    @property
    def liked(self) -> list[int]:
        """Known songs that are liked, in row order."""
        return sorted(song for song, weight in self.known.items() if weight > 0)

    @property
    def logged(self) -> int:
        """Different songs that the product would count as logged (services/listens.songs_liked): a song that was rated
        low was played all the same, one that was only said to be disliked was not."""
        return len(self.known) if self.wrong else len(self.liked)


@dataclass(frozen=True, slots=True)
class Questions:
    """All cases of a task, those to measure first; and what a crowd knows while each group is asked.

    open: histories of everybody, less what is hidden. by_group: whether the group's own history is left out as well.
    """

    cases: Sequence[Case]
    open: Histories
    whole: Histories
    by_group: bool = False

    def crowd(self, case: Case) -> Histories:
        """What everybody but the listener knows."""
        return {user: songs for user, songs in self.open.items() if user != case.group} if self.by_group else self.open

    def circle(self, case: Case) -> Histories:
        """What the listener's circle knows: the others' whole histories, and the listener's own known songs."""
        return {user: self.whole[user] for user in case.circle} | {case.group: case.liked}


def number_of(*words: str) -> int:
    """63 bits that depend on the words alone."""
    return int.from_bytes(hashlib.sha256("\0".join(words).encode()).digest()[:8], "big") >> 1


def weight(listen: Listen) -> float:
    """How the product weighs a song of a history: by plays and rating; below zero for a dislike."""
    plays = math.log2(1 + max(listen.plays, 0.0))
    if listen.rating is None:
        return plays
    return _DISLIKE if listen.rating <= DISLIKED else max(plays, 1.0) * listen.rating / 4


def circle_of(listener: str, data: Dataset, users: Sequence[str], how: str = "random") -> tuple[str, ...]:
    """Nineteen others at random; ``how`` "friends": the listener's friends as far as known, filled up at random."""
    random = np.random.default_rng(number_of("circle", listener))
    there = set(users)
    friends = sorted(data.friends.get(listener, frozenset()) & there) if how == "friends" else []
    chosen = [friends[i] for i in random.permutation(len(friends))][: CIRCLE_SIZE - 1]
    taken = {listener, *chosen}
    for at in random.permutation(len(users)):
        if len(chosen) >= CIRCLE_SIZE - 1:
            break
        if users[at] not in taken:
            chosen.append(users[at])
    return tuple(chosen)


def questions(task: str, data: Dataset, measured: Sequence[str], circles: str = "random") -> Questions:
    """The cases of a task for the listeners measured, in an order that does not depend on how many are asked for.

    Raises DataProblem if the directory has nothing to ask.
    """
    if task == "ask":
        return _ask(data)
    if not data.listens:
        raise DataProblem(f"{data.name} has no listens, which the task {task} needs")
    whole = {user: [x.song for x in them if weight(x) > 0] for user, them in data.listens.items()}
    users = sorted(whole)
    make = {"discover": _discover, "new-artists": _new_artists, "newcomer": _newcomer, "likes": _likes}[task]
    cases: list[Case] = []
    open_ = dict(whole)
    for listener in sorted(measured, key=lambda user: number_of("order", user)):
        case = make(listener, data, circle_of(listener, data, users, circles))
        if case is not None:
            cases.append(case)
            open_[listener] = case.liked
    if not cases:
        raise DataProblem(f"{data.name} has no listener whom the task {task} could be measured with")
    return Questions(cases, open_, whole)


def _hide(count: int, listener: str) -> set[int]:
    """Which of ``count`` things are hidden from the listener's taste."""
    random = np.random.default_rng(number_of("split", listener))
    return set(random.permutation(count)[: max(1, round(HIDDEN_SHARE * count))].tolist())


def _discover(listener: str, data: Dataset, circle: tuple[str, ...]) -> Case | None:
    listens = [x for x in data.listens[listener] if weight(x) > 0]
    hide = _hide(len(listens), listener)
    known = {x.song: weight(x) for i, x in enumerate(listens) if i not in hide}
    hidden = tuple(x.song for i, x in enumerate(listens) if i in hide)
    if len(known) < _LEAST_KNOWN:
        return None
    known |= {x.song: weight(x) for x in data.listens[listener] if weight(x) < 0}
    return Case(listener, listener, known, hidden, tuple(sorted(known)), circle)


def _new_artists(listener: str, data: Dataset, circle: tuple[str, ...]) -> Case | None:
    listens = [x for x in data.listens[listener] if weight(x) > 0]
    artists = sorted({data.songs[x.song].artist_key for x in listens})
    if len(artists) < 5:
        return None
    hide = {artists[i] for i in _hide(len(artists), listener)}
    known = {x.song: weight(x) for x in listens if data.songs[x.song].artist_key not in hide}
    hidden = tuple(x.song for x in listens if data.songs[x.song].artist_key in hide)
    if len(known) < _LEAST_KNOWN:
        return None
    still = {data.songs[song].artist_key for song in known}
    out = tuple(row for row, song in enumerate(data.songs) if song.artist_key in still)
    return Case(listener, listener, known, hidden, out, circle)


def _newcomer(listener: str, data: Dataset, circle: tuple[str, ...]) -> Case | None:
    """Known are the five most played artists, each by songs of the catalogue as the product reads a pick; hidden is
    everything else that was listened to. Songs of the picked artists are left out of the ranking, or they fill it."""
    listens = [x for x in data.listens[listener] if weight(x) > 0]
    plays: dict[str, float] = {}
    for listen in listens:
        artist = data.songs[listen.song].artist_key
        plays[artist] = plays.get(artist, 0.0) + listen.plays
    picked = set(sorted(plays, key=lambda artist: (-plays[artist], artist))[:PICKS])
    hidden = tuple(x.song for x in listens if data.songs[x.song].artist_key not in picked)
    if len(picked) < PICKS or not hidden:
        return None
    out = tuple(row for row, song in enumerate(data.songs) if song.artist_key in picked)
    known: dict[int, float] = {}
    for artist in sorted(picked):
        rows = [row for row in out if data.songs[row].artist_key == artist][:SONGS_A_PICK]
        known |= dict.fromkeys(rows, 1 / len(rows))
    return Case(listener, listener, known, hidden, out, circle)


def _likes(listener: str, data: Dataset, circle: tuple[str, ...]) -> Case | None:
    """The earlier songs are learnt from, in time's order (in the file's where there are no times)."""
    rated = [x for x in data.listens[listener] if x.rating is not None]
    rated.sort(key=lambda x: (x.at is None, x.at or 0.0, x.song))
    cut = round(LIKES_LEARNT * len(rated))
    known = {x.song: weight(x) for x in rated[:cut] if not DISLIKED < (x.rating or 0.0) < LIKED}
    hidden = tuple(x.song for x in rated[cut:] if (x.rating or 0.0) >= LIKED)
    wrong = tuple(x.song for x in rated[cut:] if (x.rating or 0.0) <= DISLIKED)
    if not hidden or not wrong or not any(w > 0 for w in known.values()):
        return None
    return Case(listener, listener, known, hidden, (), circle, wrong)


def _ask(data: Dataset) -> Questions:
    """Before every turn: what was said up to it, what was liked before it; hidden is the rest of the goal."""
    cases: list[Case] = []
    goals = {dialogue.id: list(dialogue.goal) for dialogue in data.dialogues}
    names = sorted(goals)
    for dialogue in sorted(data.dialogues, key=lambda d: number_of("order", d.id)):
        said: list[str] = []
        liked: dict[int, float] = {}
        disliked: dict[int, float] = {}
        circle = circle_of(dialogue.id, data, names, "random")
        for number, turn in enumerate(dialogue.turns):
            said.append(turn.said)
            hidden = tuple(song for song in dialogue.goal if song not in liked)
            if hidden and any(said):
                known = disliked | liked
                key = f"{dialogue.id} {number}"
                cases.append(Case(key, dialogue.id, known, hidden, tuple(sorted(known)), circle, (), tuple(said)))
            liked |= dict.fromkeys(turn.liked, 1.0)
            disliked |= {song: _DISLIKE for song in turn.disliked if song not in dialogue.goal}
    if not cases:
        raise DataProblem(f"{data.name} has no dialogues, which the task ask needs")
    return Questions(cases, goals, goals, by_group=True)
