"""Preview, run, stop, go on, report, undo: nothing twice, nothing lost, nothing left behind."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, update

from app.db import Database
from app.errors import BadInput, Conflict, NotFound
from app.services import importing, listens
from app.services.imports import running, undoing
from app.services.imports.staging import Staging
from app.tables import Chore, Feedback, Listen, Listener, Song, Table
from app.tables_imports import Import, SoftDuplicate
from tests.inputs import times

from .conftest import Bring, Played
from .exports_made import AT, PLAYS, SPOTIFY_ROWS, Play, lastfm_uts, spotify, spotify_basic, zipped

Read = Callable[[Listener], Played]


def file(tmp_path: Path, content: bytes, name: str = "some.bin") -> Path:
    """A file to import."""
    path = tmp_path / name
    path.write_bytes(content)
    return path


def everything(db: Database) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of what an import may write, but for the imports themselves."""
    with db.read() as session:
        return {
            table.name: sorted((tuple(map(str, row)) for row in session.execute(select(table))), key=str)
            for table in Table.metadata.tables.values()
            if table.name not in ("imports", "listeners", "chores", "list_changes")
        }


def report_of(staging: Staging, who: Listener, made: str) -> list[dict[str, str]]:
    """The rows of an import's report file."""
    with staging.report(who.id, made).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_preview_says_what_the_run_then_does(db: Database, staging: Staging, ana: Listener, tmp_path: Path) -> None:
    paths = [("a.zip", file(tmp_path, zipped({"a.json": spotify(PLAYS), "b.json": spotify(PLAYS[:1], ms_played="x")})))]
    before = everything(db)
    with db.write() as session:
        made = running.begin(session, ana.id, "web", "a.zip")
    hold = running.Run(db, staging, made.id, "test:1")
    seen = hold.look(paths)
    assert everything(db) == before, "a preview writes nothing"
    with db.write() as session:
        running.start(session, ana.id, made.id)
    report = hold.take(paths).kept()
    assert {k: seen[k] for k in report} == report
    assert (report["rows"], report["taken"], report["dropped"], report["skips"]) == (7, 6, 1, 1)
    assert (seen["first"], seen["last"]) == (AT, PLAYS[-1].at)
    with db.read() as session:
        assert session.get_one(Import, made.id).state == "encoding", "new songs are still to be encoded"


def test_listens_keep_what_the_source_knew(db: Database, ana: Listener, bring: Bring, tmp_path: Path) -> None:
    made, _ = bring(file(tmp_path, spotify(PLAYS)))
    with db.read() as session:
        listen = session.scalars(select(Listen).order_by(Listen.listened_at)).first()
        assert listen is not None
        assert (listen.album, listen.played_ms, listen.source, listen.import_id) == (
            "Pastel Blues",
            622_000,
            "spotify",
            made,
        )
        titles = set(session.scalars(select(Song.title)))
    assert titles == {play.title for play in PLAYS}, "kept as given"


def test_importing_twice_adds_nothing(db: Database, bring: Bring, tmp_path: Path) -> None:
    path = file(tmp_path, spotify(PLAYS))
    bring(path)
    before = everything(db)
    _, again = bring(path)
    assert (again.taken, again.folded, again.new_songs) == (0, len(PLAYS), 0)
    assert everything(db) == before


def test_undo_leaves_everything_as_it_was(
    db: Database, ana: Listener, ben: Listener, bring: Bring, tmp_path: Path
) -> None:
    said = b'{"score": 1, "created": 1, "track_metadata": {"artist_name": "Nina Simone", "track_name": "Sinnerman"}}\n'
    bring(file(tmp_path, spotify(PLAYS[:2]), "old"))
    bring(file(tmp_path, spotify(PLAYS[:4]), "bens"), who=ben)
    before = everything(db)
    plain = b"artist\ttitle\tplays\nNina Simone\tSinnerman\t5\nNew One\tNew Song\t2\n"
    made, report = bring(file(tmp_path, zipped({"a": spotify(PLAYS), "b": said, "c.tsv": plain}), "new"))
    assert report.taken == 4 + 1 + 2 and everything(db) != before
    with db.write() as session:
        gone = undoing.undo(session, ana.id, made)
    assert (gone["listens"], gone["feedback"], gone["songs"]) == (6, 1, 3)
    assert everything(db) == before
    with db.read() as session:
        assert session.get_one(Chore, "shred").due_at, "three songs are gone"
    with pytest.raises(Conflict, match="undone"), db.write() as session:
        undoing.undo(session, ana.id, made)


def test_undoing_is_ones_own(db: Database, ana: Listener, ben: Listener, bring: Bring, tmp_path: Path) -> None:
    made, _ = bring(file(tmp_path, spotify(PLAYS)))
    for act in (undoing.undo, undoing.count_duplicates, undoing.own_import, running.ask_to_stop):
        for one in (made, "\x00", "x" * 500):
            with pytest.raises(NotFound), db.write() as session:
                act(session, ben.id, one)


def test_what_a_listener_said_since_is_not_the_imports(
    db: Database, ana: Listener, bring: Bring, tmp_path: Path
) -> None:
    said = b'{"score": 1, "created": 1, "track_metadata": {"artist_name": "A", "track_name": "B"}}\n'
    made, _ = bring(file(tmp_path, said))
    with db.write() as session:
        song = session.scalars(select(Song.id)).one()
        listens.say(session, ana.id, song, "dislike")
        undoing.undo(session, ana.id, made)
    with db.read() as session:
        assert session.scalars(select(Feedback.verdict)).all() == ["dislike"]
        assert session.get(Song, song) is not None


def test_undated_counts_go_back_whatever_is_undone_first(
    db: Database, ana: Listener, bring: Bring, tmp_path: Path
) -> None:
    def plays() -> list[int]:
        with db.read() as session:
            return list(session.scalars(select(Listen.plays)))

    def plain(count: int) -> Path:
        return file(tmp_path, b"artist\ttitle\tplays\nA\tB\t%d\n" % count, f"{count}")

    for order, left in (((0, 1, 2), [[9], [9], []]), ((2, 1, 0), [[7], [3], []]), ((1, 0, 2), [[9], [9], []])):
        made = [bring(plain(count))[0] for count in (3, 7, 9)]
        assert plays() == [9]
        for place, expected in zip(order, left, strict=True):
            with db.write() as session:
                undoing.undo(session, ana.id, made[place])
            assert plays() == expected, order


def test_what_another_source_tells_too_is_reported_kept_and_can_be_counted(
    db: Database, ana: Listener, bring: Bring, played: Read, tmp_path: Path
) -> None:
    bring(file(tmp_path, spotify(PLAYS[:3]), "spotify"))
    # The same three: 40 s apart, at the end instead of the start, and the same second; one that is new.
    told = [
        PLAYS[0]._replace(at=AT + 40), PLAYS[1]._replace(at=PLAYS[1].at + 244), PLAYS[2],
        PLAYS[0]._replace(at=AT + 5000),
    ]  # fmt: skip
    made, report = bring(file(tmp_path, lastfm_uts(told), "lastfm"))
    assert (report.taken, report.folded, report.soft) == (1, 3, 2)
    assert {k for k in report.kinds if "soft" in k} == {
        "a soft duplicate: spotify tells it within … s", "a soft duplicate: spotify tells it one song's length apart",
    }  # fmt: skip
    before = everything(db)
    assert bring(file(tmp_path, lastfm_uts(told), "lastfm"))[1].taken == 0
    assert everything(db) == before
    with db.write() as session:
        assert undoing.count_duplicates(session, ana.id, made) == 2
    assert len(played(ana)) == 6
    with db.read() as session:
        assert session.scalar(select(func.count()).select_from(SoftDuplicate)) == 0


def test_a_soft_duplicate_at_whose_second_a_listen_by_hand_stands_is_not_counted_twice(
    db: Database, ana: Listener, bring: Bring, played: Read, tmp_path: Path
) -> None:
    bring(file(tmp_path, spotify(PLAYS[:1]), "spotify"))
    made, report = bring(file(tmp_path, lastfm_uts([PLAYS[0]._replace(at=AT + 40)]), "lastfm"))
    with db.write() as session:
        song = session.scalars(select(Listen.song_id)).one()
        listens.log(session, ana.id, song_id=song, at=AT + 40)
    with db.write() as session:
        assert report.soft == 1 and undoing.count_duplicates(session, ana.id, made) == 0
    assert len(played(ana)) == 2


def test_undoing_what_was_first_brings_the_other_sources_word_back(
    db: Database, ana: Listener, bring: Bring, played: Read, tmp_path: Path
) -> None:
    first, _ = bring(file(tmp_path, spotify(PLAYS[:3]), "spotify"))
    bring(file(tmp_path, lastfm_uts([play._replace(at=play.at + 30) for play in PLAYS[:3]]), "lastfm"))
    with db.write() as session:
        gone = undoing.undo(session, ana.id, first)
    assert gone["back"] == 3
    assert [row[2] for row in played(ana)] == [play.at + 30 for play in PLAYS[:3]]


def test_a_song_on_repeat_is_many_listens(db: Database, ana: Listener, bring: Bring, tmp_path: Path) -> None:
    song = Play("A", "B", "", AT, 200_000)
    _, report = bring(file(tmp_path, spotify([song._replace(at=AT + 200 * n) for n in range(30)])))
    assert report.taken == 30


def test_minutes_of_one_source_meet_the_seconds_of_the_other(
    ana: Listener, bring: Bring, played: Read, tmp_path: Path
) -> None:
    bring(file(tmp_path, spotify(PLAYS), "extended"))
    _, basic = bring(file(tmp_path, spotify_basic(PLAYS), "basic"))
    assert basic.taken == 0 and basic.folded == len(PLAYS)


def test_times_of_an_unknown_zone_can_be_moved(ana: Listener, bring: Bring, played: Read, tmp_path: Path) -> None:
    bring(file(tmp_path, spotify_basic(PLAYS[:1])), shift=-90)
    ((_, _, at, _),) = played(ana)
    assert at is not None and abs(at - (AT - 90 * 60)) < 60


def test_friends_do_not_collide(ana: Listener, ben: Listener, bring: Bring, played: Read, tmp_path: Path) -> None:
    path = file(tmp_path, spotify(PLAYS))
    bring(path)
    _, report = bring(path, who=ben)
    assert report.taken == len(PLAYS) and played(ana) == played(ben)


class Killed(BaseException):
    """Stands for the power going out."""


def test_a_killed_import_goes_on_where_it_was(
    db: Database, staging: Staging, ana: Listener, played: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "CHUNK", 10)
    rows = [Play("A", f"Song {n % 7}", "", AT + 300 * n, 200_000) for n in range(45)]
    content = spotify(rows).replace(b'"ms_played": 200000', b'"ms_played": null', 2)
    paths = [("a", file(tmp_path, content))]
    with db.write() as session:
        made = running.begin(session, ana.id, "web", "a").id
    running.Run(db, staging, made, "first:1").look(paths)
    with db.write() as session:
        running.start(session, ana.id, made)
    taken = importing.Taker.take
    turns = iter(range(100))

    def dies(self: importing.Taker, *args: Any) -> Any:
        done = taken(self, *args)
        if next(turns) == 2:
            raise Killed  # in the middle of the third transaction
        return done

    monkeypatch.setattr(importing.Taker, "take", dies)
    with pytest.raises(Killed):
        running.Run(db, staging, made, "first:1").take(paths)
    with db.read() as session:
        assert session.get_one(Import, made).step == 20 and len(played(ana)) == 18
    with pytest.raises(running.Stopped):
        running.Run(db, staging, made, "second:2").take(paths)  # the first one's lease still runs
    with db.write() as session:
        session.execute(update(Import).values(lease_until=0))
    report = running.Run(db, staging, made, "second:2").take(paths)
    assert (report.rows, report.taken, report.folded, report.dropped) == (45, 43, 0, 2)
    assert len(played(ana)) == 43
    listed = report_of(staging, ana, made)
    assert [(row["row"], row["outcome"]) for row in listed] == [("1", "dropped"), ("2", "dropped")]


def test_stop_is_heard_between_chunks_and_the_rest_can_follow(
    db: Database, staging: Staging, ana: Listener, played: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "CHUNK", 2)
    paths = [("a", file(tmp_path, spotify(PLAYS)))]
    with db.write() as session:
        made = running.begin(session, ana.id, "web", "a").id
    chunks = iter([False, False, True])
    hold = running.Run(db, staging, made, "me:1", lambda: next(chunks, False))
    running.Run(db, staging, made, "me:1").look(paths)
    with db.write() as session:
        running.start(session, ana.id, made)
    with pytest.raises(running.Stopped):
        hold.take(paths)
    assert len(played(ana)) == 4
    assert running.Run(db, staging, made, "me:1").take(paths).taken == len(PLAYS)
    assert len(played(ana)) == len(PLAYS)


def test_the_report_lists_every_row_that_was_not_taken_and_runs_no_formula(
    ana: Listener, staging: Staging, bring: Bring, tmp_path: Path
) -> None:
    rows = json.loads(spotify([PLAYS[4], PLAYS[4]]))
    rows.append({**rows[0], "ms_played": "=cmd"})
    made, _ = bring(file(tmp_path, json.dumps(rows).encode(), "=evil.json"))
    listed = report_of(staging, ana, made)
    assert [(row["file"], row["row"], row["outcome"]) for row in listed] == [
        ("'=evil.json", "2", "folded"), ("'=evil.json", "3", "dropped"),
    ]  # fmt: skip
    assert listed[0]["title"] == "'=1+1; drop" and listed[0]["time_utc"].startswith("2023-11-14")


def test_staged_files_are_bounded_and_go(db: Database, staging: Staging, ana: Listener, tmp_path: Path) -> None:
    with db.write() as session:
        made = running.begin(session, ana.id, "web", "a").id
    with pytest.raises(BadInput, match="most that is taken"), (tmp_path / "big").open("w+b") as big:
        big.write(b"x" * 3000)
        big.seek(0)
        staging.keep(ana.id, made, [("big", big)], 2000)
    with (tmp_path / "big").open("rb") as big:
        kept = staging.keep(ana.id, made, [("big", big)], 4000)
    assert [path.read_bytes() for _, path in staging.paths(ana.id, made, kept)] == [b"x" * 3000]
    assert staging.root.stat().st_mode & 0o077 == 0
    with db.write() as session:
        running.discard_staged(session, staging, ana.id)
    assert not staging.folder(ana.id, made).exists() and running.mine(session, ana.id) == []
    with pytest.raises(NotFound):
        staging.folder(ana.id, "../../etc")


# Tests before this one break an import off in the middle of a transaction. On PostgreSQL they leave a connection to the
# garbage collector, which hypothesis calls.
@pytest.mark.filterwarnings("ignore:.*was deleted while still open:ResourceWarning")
@settings(max_examples=times(15), deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(rows=st.lists(SPOTIFY_ROWS, min_size=1, max_size=30))
def test_every_row_is_accounted_for_whatever_it_holds(
    db: Database, bring: Bring, ana: Listener, tmp_path: Path, rows: list[Any]
) -> None:
    path = file(tmp_path, json.dumps(json.loads(spotify(PLAYS[:1])) + rows).encode())
    made, report = bring(path)
    assert report.rows == 1 + len(rows) == report.taken + report.folded + report.dropped
    assert sum(kind["count"] for kind in report.kinds.values()) == report.folded + report.dropped
    _, again = bring(path)
    assert (again.taken, again.new_songs, again.dropped) == (0, 0, report.dropped)
    with db.write() as session:
        undoing.undo(session, ana.id, made)
