"""Import and export in the browser: a plain form is enough, and each sees only their own."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
import socket
import subprocess
import sys
import zipfile
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import delete, func, select
from starlette.testclient import TestClient

from app.db import Database
from app.errors import BaseMissing
from app.lm.engine import Engine
from app.lm.song_text import song_text
from app.services import catalogue, hiding, importing, listens, playlists, privacy, tokens
from app.services.imports.runner import encode_new_songs
from app.services.imports.staging import Staging
from app.services.plain_format import Row
from app.settings import Settings
from app.tables import Chore, Listen, Listener, Song, now
from app.tables_imports import Import
from app.web.encoding_later import encode
from tests.services.imports.exports_made import PLAYS, spotify, spotify_basic, zipped

HISTORY = spotify(PLAYS) + b" "


def upload(client: TestClient, *files: tuple[str, bytes], **headers: str) -> str:
    """Send files by the form; gives the address of the import's page."""
    answer = client.post("/import", files=[("files", file) for file in files], headers=headers)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def settle(app: FastAPI) -> None:
    """Until the imports that were asked for are done."""
    app.state.earshot.imports.wait()


def count(db: Database, who: Listener) -> int:
    """How many listens somebody has."""
    with db.read() as session:
        return session.scalar(select(func.count()).select_from(Listen).where(Listen.listener_id == who.id)) or 0


def test_an_import_is_undone_without_a_base_too(
    app: FastAPI, me: TestClient, db: Database, ana: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    where = upload(me, ("history.json", HISTORY))
    settle(app)
    me.post(f"{where}/run")
    settle(app)
    assert count(db, ana) == len(PLAYS)

    def get() -> None:
        raise BaseMissing("There is no base.")

    app.state.earshot = dataclasses.replace(app.state.earshot, engine=SimpleNamespace(ready=False, get=get))
    assert me.post(f"{where}/undo").status_code == 303
    assert count(db, ana) == 0 and "was undone" in me.get(where).text
    assert "not all of its files: There is no base." in caplog.text
    with db.read() as session:  # what is left of its songs goes with the next chore
        assert session.get_one(Chore, "shred").due_at is not None


def test_files_are_looked_into_then_taken_reported_and_undone(
    app: FastAPI, me: TestClient, db: Database, ana: Listener, engine: Engine, settings: Settings
) -> None:
    rows = json.loads(HISTORY)
    rows.append(rows[0] | {"master_metadata_track_name": None, "episode_name": "<script>x</script>"})
    where = upload(me, ("C:\\dir\\My <Data>.zip", zipped({"a.json": json.dumps(rows).encode(), "b.pdf": b"%PDF"})))
    settle(app)
    seen = me.get(where)
    assert seen.status_code == 200 and "My &lt;Data&gt;.zip" in seen.text and "C:" not in seen.text
    assert "Spotify, extended streaming history" in seen.text and "a podcast episode" in seen.text
    assert count(db, ana) == 0, "nothing is taken before one agrees"
    before = engine.encoded()
    assert me.post(f"{where}/run").status_code == 303
    settle(app)
    facts = me.get(where, headers={"accept": "application/json"}).json()
    assert facts["state"] == "done" and facts["report"]["taken"] == len(PLAYS) == count(db, ana)
    assert engine.encoded() == before + facts["report"]["new_songs"] > before
    assert not list((settings.data / "imports").glob("*/*/0")), "what was read is removed"
    report = list(csv.DictReader(io.StringIO(me.get(f"{where}/report.csv").text)))
    assert [(row["row"], row["outcome"], row["reason"]) for row in report] == [("7", "dropped", "a podcast episode")]
    assert "Undo this import" in me.get(where).text and "taken" in me.get("/import").text
    assert me.post(f"{where}/undo").status_code == 303
    assert count(db, ana) == 0 and "was undone" in me.get(where).text


def test_an_import_that_is_undone_while_its_songs_are_encoded_leaves_no_vector(
    app: FastAPI, me: TestClient, db: Database, ana: Listener, engine: Engine
) -> None:
    before = set(engine.vectors.snapshot().ids.tolist())
    with db.write() as session:
        made = Import(listener_id=ana.id, state="encoding")
        session.add(made)
        session.flush()
        rows = [Row(n, "Nina Simone", f"Song {n}", 1_700_000_000 + n, 1, None) for n in range(20)]
        importing.Taker(ana.id, made.id).take(session, rows, "plain")
    undone: list[int] = []

    def text_of(*facts: Any) -> str:  # the songs have been read, and are encoded next
        if not undone:
            undone.append(me.post(f"/import/{made.id}/undo").status_code)
        return song_text(*facts)

    encode_new_songs(db, engine, text_of, made.id)
    assert undone == [303] and set(engine.vectors.snapshot().ids.tolist()) == before
    with db.read() as session:
        assert session.get_one(Chore, "shred").due_at is not None


def test_a_song_that_goes_while_it_is_encoded_beside_a_request_leaves_no_vector(
    app: FastAPI, me: TestClient, db: Database, engine: Engine
) -> None:
    with db.write() as session:
        song = catalogue.find_or_add(session, "Nina Simone", "Soon gone", source="log")[0].id

    def text_of(*facts: Any) -> str:
        with db.write() as session:
            session.execute(delete(Song).where(Song.id == song))
        return song_text(*facts)

    state = app.state.earshot
    encode(dataclasses.replace(state, kinds=dataclasses.replace(state.kinds, song_text=text_of)), [song])
    assert song not in engine.vectors.snapshot().ids.tolist()


def test_a_script_gets_the_address_and_follows_the_progress(app: FastAPI, me: TestClient) -> None:
    answer = me.post("/import", files=[("files", ("a", HISTORY))], headers={"accept": "application/json"})
    assert answer.status_code == 202
    settle(app)
    facts = me.get(answer.json()["href"], headers={"accept": "application/json"}).json()
    assert (facts["state"], facts["active"], facts["preview"]["taken"]) == ("ready", False, len(PLAYS))


def test_times_of_an_unknown_zone_are_asked_for(app: FastAPI, me: TestClient, db: Database, ana: Listener) -> None:
    where = upload(me, ("a", spotify_basic(PLAYS[:1])))
    settle(app)
    assert "does not say its time zone" in me.get(where).text
    assert me.post(f"{where}/run", data={"shift_hours": "x"}).status_code == 422
    assert me.post(f"{where}/run", data={"shift_hours": "15"}).status_code == 422
    me.post(f"{where}/run", data={"shift_hours": "-2"})
    settle(app)
    with db.read() as session:
        at = session.scalar(select(Listen.listened_at).where(Listen.listener_id == ana.id))
    assert at is not None and abs(at - (PLAYS[0].at - 7200)) < 60


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "empty"), (b"hello", "does not hold"), (zipped({"../a": HISTORY}), "leads out")]
)
def test_what_cannot_be_read_is_said_on_the_page(app: FastAPI, me: TestClient, content: bytes, said: str) -> None:
    answer = me.post("/import", files=[("files", ("a", content))])
    settle(app)
    page = answer if answer.status_code != 303 else me.get(answer.headers["location"])
    assert said in page.text and 'role="alert"' in page.text


def test_no_file_and_too_large_a_file_are_refused(me: TestClient, settings: Settings) -> None:
    assert me.post("/import").status_code == 422
    huge = {"content-length": str(settings.max_import_bytes + 1), "content-type": "multipart/form-data; boundary=x"}
    assert me.post("/import", headers=huge, content=b"--x--").status_code == 413
    assert me.post("/listens", data={"title": "x" * (settings.max_body_bytes + 1)}).status_code == 413


def test_a_second_preview_takes_the_place_of_the_first(app: FastAPI, me: TestClient, settings: Settings) -> None:
    first = upload(me, ("a", HISTORY))
    settle(app)
    second = upload(me, ("b", HISTORY))
    settle(app)
    assert (me.get(first).status_code, me.get(second).status_code) == (404, 200)
    assert len(list((settings.data / "imports").glob("*/*"))) == 1
    me.post(f"{second}/discard")
    assert list((settings.data / "imports").glob("*/*")) == [] and me.get(second).status_code == 404


@pytest.mark.parametrize("killed", ["long ago", "just now"])
def test_an_import_that_a_dead_process_left_goes_on_at_the_start(
    app: FastAPI, me: TestClient, db: Database, ana: Listener, killed: str
) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    where = upload(me, ("a", HISTORY))
    settle(app)
    with db.write() as session:
        row = session.get_one(Import, where.rsplit("/", 1)[1])
        holder = f"{socket.gethostname()}:{gone.pid}" if killed == "just now" else "elsewhere:1"
        row.state, row.lease_owner, row.lease_until = "running", holder, now() + 60 if killed == "just now" else 1
    runner = app.state.earshot.imports
    assert runner.resume(app.state.earshot.engine) == 1
    settle(app)
    assert count(db, ana) == len(PLAYS)


def test_without_a_base_the_listens_are_in_and_the_songs_wait_for_the_next_start(
    app: FastAPI, me: TestClient, db: Database, ana: Listener
) -> None:
    there, runner = app.state.earshot.engine, app.state.earshot.imports

    class Without:
        ready = False

        def get(self) -> Engine:
            raise BaseMissing("There is no base.")

    app.state.earshot = dataclasses.replace(app.state.earshot, engine=Without())
    where = upload(me, ("a", HISTORY))
    settle(app)
    me.post(f"{where}/run")
    settle(app)
    facts = me.get(where, headers={"accept": "application/json"}).json()
    assert (facts["state"], facts["active"], facts["report"]["taken"]) == ("encoding", False, len(PLAYS))
    assert "There is no base." in facts["error"] and count(db, ana) == len(PLAYS)
    assert "What became of it" in me.get(where).text
    assert runner.resume(there) == 1
    settle(app)
    facts = me.get(where, headers={"accept": "application/json"}).json()
    assert (facts["state"], facts["error"]) == ("done", "")


def test_the_whole_account_can_be_taken_away_and_brought_to_a_friend(
    app: FastAPI, me: TestClient, friend: TestClient, db: Database, ana: Listener, ben: Listener
) -> None:
    with db.write() as session:
        importing.import_rows(session, ana.id, [], "import")
        for n, play in enumerate(PLAYS):
            listen, _ = listens.log(session, ana.id, artist=play.artist, title=play.title, at=play.at + n)
        listens.say(session, ana.id, listen.song_id, "love")
        listens.set_preferences(session, ana.id, ["jazz"], ["Nina Simone"])
        hiding.hide(session, ana.id, "AC/DC")
        playlists.make(session, ana.id, "Rainy", [listen.song_id])
    answer = me.get("/export/account.zip")
    assert re.search(r'filename="earshot-account-\d{4}-\d\d-\d\d\.zip"', answer.headers["content-disposition"])
    names = set(zipfile.ZipFile(io.BytesIO(answer.content)).namelist())
    wanted = {"README.md", "account.json", "listens.jsonl", "listens.csv", "feedback.jsonl", "own.jsonl", "lists.jsonl"}
    assert names >= wanted | {"catalogue.jsonl", "playlists/1.jspf", "music/adapter_model.safetensors"}
    assert names >= {
        f"rows/{table}.jsonl" for table in ("listeners", "listens", "feedback", "preferences", "playlists")
    }
    where = upload(friend, ("account.zip", answer.content))
    settle(app)
    assert "An Earshot account" in friend.get(where).text
    friend.post(f"{where}/run")
    settle(app)
    assert count(db, ben) == count(db, ana)
    with db.read() as session:
        assert listens.preferences(session, ben.id) == (["jazz"], ["Nina Simone"])
        assert list(listens.verdicts(session, ben.id).values()) == ["love"]
        assert [one.name for one in hiding.hidden(session, ben.id)] == ["AC/DC"]
        ((playlist, size),) = playlists.of(session, ben.id)
        assert (playlist.name, size) == ("Rainy", 1)
    friend.post(f"{where}/undo")
    with db.read() as session:
        assert count(db, ben) == 0 and listens.preferences(session, ben.id) == ([], [])
        assert playlists.of(session, ben.id) == [] and not hiding.hidden(session, ben.id)


def test_listens_alone_can_be_taken_away(me: TestClient, db: Database, ana: Listener) -> None:
    with db.write() as session:
        listens.log(session, ana.id, artist="=cmd", title="B", at=PLAYS[0].at)
    assert json.loads(me.get("/export/listens.jsonl").text)["track_metadata"]["artist_name"] == "=cmd"
    assert me.get("/export/listens.csv").text.splitlines()[1].startswith("'=cmd,B,")
    assert me.get("/export").status_code == 200


def test_a_program_brings_listening_along_and_takes_it_away(
    app: FastAPI, stranger: TestClient, db: Database, ana: Listener
) -> None:
    with db.write() as session:
        token = tokens.add(session, ana.id, "script", ("submit", "read"))[1]
        only_reads = tokens.add(session, ana.id, "reader", ("read",))[1]
    program = {"Authorization": f"Token {token}"}
    files = [("files", ("a.zip", zipped({"a.json": HISTORY})))]
    assert stranger.post("/api/v1/imports", files=files).status_code == 401
    refused = stranger.post("/api/v1/imports", files=files, headers={"Authorization": f"Token {only_reads}"})
    assert refused.status_code == 403
    where = f"/api/v1/imports/{stranger.post('/api/v1/imports', files=files, headers=program).json()['id']}"
    settle(app)
    assert stranger.get(where, headers=program).json()["preview"]["taken"] == len(PLAYS)
    assert stranger.post(f"{where}/run", json={"shift_minutes": 0}, headers=program).status_code == 202
    settle(app)
    done = stranger.get(where, headers=program).json()
    assert (done["state"], done["report"]["taken"], count(db, ana)) == ("done", len(PLAYS), len(PLAYS))
    assert stranger.get("/api/v1/imports", headers=program).json()["imports"][0]["id"] == done["id"]
    assert len(stranger.get("/api/v1/export/listens.jsonl", headers=program).text.splitlines()) == len(PLAYS)
    assert stranger.get(f"{where}/report.csv", headers=program).text.startswith("file,row,outcome")
    assert stranger.post(f"{where}/undo", headers=program).json()["listens"] == len(PLAYS)
    assert stranger.delete(where, headers=program).status_code == 204 and count(db, ana) == 0


def test_an_upload_of_somebody_who_leaves_just_then_is_kept_nowhere(
    app: FastAPI, me: TestClient, friend: TestClient, db: Database, ben: Listener, settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    keep = Staging.keep

    def late(*given: Any) -> Any:
        with db.write() as session:
            privacy.delete_account(session, ben.id)
        privacy.remove_files([settings.adapters, settings.data / "imports"], ben.id)
        return keep(*given)

    monkeypatch.setattr(Staging, "keep", late)
    answer = friend.post("/import", files={"files": ("a.json", spotify(PLAYS))}, headers={"accept": "application/json"})
    assert answer.status_code == 404
    assert not list((settings.data / "imports").glob("*/*/*"))
